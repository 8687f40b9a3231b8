"""The files of the console: what is sent with them, how much they are, and that they ask nobody else."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

import rbm_service
from rbm_service.app import create_app
from rbm_service.settings import Settings
from tests.keys import key_files

FOLDER = Path(rbm_service.__file__).parent / "console"
FILES = sorted(path.name for path in FOLDER.iterdir())
SCRIPTS = [name for name in FILES if name.endswith(".js")]
MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
MAX_BYTES = 150_000


@pytest.fixture(scope="module")
def make_client(models_dir):
    def make(**settings):
        return TestClient(create_app(Settings(models_dir=models_dir, device="cpu", **settings)))

    return make


@pytest.fixture(scope="module")
def client(make_client):
    return make_client()


@pytest.mark.parametrize("path", ["/", *(f"/console/{name}" for name in FILES)])
def test_a_file_comes_as_what_it_is_and_lets_nothing_foreign_in(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == MEDIA_TYPES[path.rpartition(".")[2] if path != "/" else "html"]
    assert answer.headers["content-security-policy"] == "default-src 'self'; frame-ancestors 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"


def test_a_file_that_the_browser_has_is_not_sent_again(client):
    etag = client.get("/console/main.js").headers["etag"]
    again = client.get("/console/main.js", headers={"If-None-Match": etag})
    assert again.status_code == 304
    assert again.headers["content-security-policy"]


def test_the_page_needs_no_key_where_all_that_fills_it_does(make_client, tmp_path):
    client = make_client(**key_files(tmp_path))
    assert client.get("/").status_code == client.get("/console/main.js").status_code == 200
    assert client.get("/info").status_code == client.get("/console").status_code == 401


@pytest.mark.parametrize("keys", [False, True])
def test_switched_off_it_does_not_exist(make_client, tmp_path, keys):
    client = make_client(console="off", **(key_files(tmp_path) if keys else {}))
    for path in ("/", "/console/main.js"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.json()["code"] == "not_found"


def test_it_is_on_or_off():
    with pytest.raises(ValidationError, match="'on' or 'off'"):
        Settings(console="perhaps")


@pytest.mark.parametrize("path", ["/console/nothing.js", "/console/..%2Fapp.py", "/console/%00"])
def test_there_are_no_other_files(client, path):
    assert client.get(path).status_code == 404


def test_the_files_are_few_bytes_together():
    assert sum((FOLDER / name).stat().st_size for name in FILES) <= MAX_BYTES


@pytest.mark.parametrize("name", FILES)
def test_a_file_names_no_other_host(name):
    text = (
        (FOLDER / name).read_text().replace("http://www.w3.org/2000/svg", "")
    )  # a name, which nobody fetches
    assert not re.search(r"https?://|[\"'(]//", text)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_makes_no_markup_of_text_keeps_nothing_and_evaluates_nothing(name):
    text = (FOLDER / name).read_text()
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
        assert way not in text
    for store in ("localStorage", "sessionStorage", "indexedDB", "document.cookie"):
        assert store not in text


def test_the_page_has_neither_scripts_nor_styles_of_its_own():
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*src=)", page)
    links = re.findall(r'(?:src|href)="([^#]*?)"', page)
    assert len(links) == 3
    assert all(link.startswith("console/") for link in links), "a proxy may have put a prefix before the path"


def test_every_file_is_asked_for():
    texts = {name: (FOLDER / name).read_text() for name in FILES}
    asked = {name for text in texts.values() for name in re.findall(r"[\w-]+\.(?:js|css|svg)", text)}
    assert asked == set(FILES) - {"index.html"}
