"""`/docs` and `/openapi.json`: who may read them, and that the page needs no other server."""

import re

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from rbm_service.app import create_app
from rbm_service.settings import Settings
from tests.keys import ADMIN_KEY_LINE, API_KEY, API_KEY_LINE

PATHS = ["/docs", "/docs/swagger-ui.css", "/openapi.json"]


@pytest.fixture
def make_client(models_dir, tmp_path):
    (tmp_path / "keys").write_text(API_KEY_LINE)
    (tmp_path / "admin").write_text(ADMIN_KEY_LINE)

    def make(*, keys=False, **settings):
        files = {"api_keys_file": tmp_path / "keys"} if keys else {}
        return TestClient(create_app(Settings(models_dir=models_dir, device="cpu", **files, **settings)))

    return make


@pytest.mark.parametrize(
    ("settings", "without_a_key", "with_a_key"),
    [
        ({}, 200, 200),
        ({"docs": "open"}, 200, 200),
        ({"docs": "off"}, 404, 404),
        ({"keys": True}, 401, 200),
        ({"keys": True, "docs": "keys"}, 401, 200),
        ({"keys": True, "docs": "open"}, 200, 200),
        ({"keys": True, "docs": "off"}, 404, 404),
    ],
)
@pytest.mark.parametrize("path", PATHS)
def test_the_setting_says_who_may_read(make_client, path, settings, without_a_key, with_a_key):
    client = make_client(**settings)
    assert client.get(path).status_code == without_a_key
    assert client.get(path, headers={"Authorization": f"Bearer {API_KEY}"}).status_code == with_a_key


def test_open_docs_open_nothing_else(make_client):
    client = make_client(keys=True, docs="open")
    for path in ("/info", "/docsx", "/openapi.json/x", "/v2"):
        assert client.get(path).status_code == 401
    assert client.get("/docs/nothing").status_code == 404
    assert client.get("/docs/..%2Fmain.py").status_code == 404


def test_an_admin_key_alone_leaves_the_docs_open(make_client, tmp_path):
    assert make_client(admin_key_file=tmp_path / "admin").get("/docs").status_code == 200


def test_docs_for_keys_need_a_file_of_keys():
    with pytest.raises(ValidationError, match="RBM_DOCS=keys needs RBM_API_KEYS_FILE"):
        Settings(docs="keys")


def test_the_page_and_its_files_come_from_this_service_alone(make_client):
    client = make_client()
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    links = re.findall(r"""(?:src|href)="(.*?)"|url: '(.*?)'""", page.text)
    links = [one or other for one, other in links]
    assert len(links) == 4
    assert "//" not in "".join(links)
    assert '"validatorUrl": null' in page.text
    for link in links:
        assert not link.startswith("/"), "a proxy may have put a prefix before the path"
        assert client.get(f"/{link}").status_code == 200


def test_the_files_are_counted_as_one_route(make_client):
    client = make_client()
    for path in ("/docs", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/docs/nothing"):
        client.get(path)
    value = client.app.app_state.metrics.registry.get_sample_value
    labels = {"method": "GET", "route": "/docs/{file}"}
    assert value("rbm_http_requests_total", {**labels, "code": "200"}) == 2
    assert value("rbm_http_requests_total", {**labels, "code": "404"}) == 1


def test_a_file_that_the_browser_has_is_not_sent_again(make_client):
    client = make_client()
    etag = client.get("/docs/swagger-ui.css").headers["etag"]
    assert client.get("/docs/swagger-ui.css", headers={"If-None-Match": etag}).status_code == 304
