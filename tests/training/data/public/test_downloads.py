import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rbm_training.data.public.downloads import Archive, DownloadError, Files


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; of a file named `short` it promises more than it sends."""

    def log_message(self, *_):
        pass

    def send_header(self, keyword, value):
        if keyword == "Content-Length" and self.path.endswith("short"):
            value = str(int(value) + 1)
        super().send_header(keyword, value)


@pytest.fixture
def published(tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    return folder


@pytest.fixture
def address(published):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=published)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


def test_only_missing_files_are_fetched(published, address, root):
    files = Files("Set/raw", ("one", "two"), address)
    (published / "one").write_text("published")
    (published / "two").write_text("published")
    (root / "Set" / "raw").mkdir(parents=True)
    (root / "Set" / "raw" / "one").write_text("mine")
    assert not files.is_present(root)
    files.fetch(root)
    assert files.is_present(root)
    assert {path.name: path.read_text() for path in files.path(root).iterdir()} == {
        "one": "mine",
        "two": "published",
    }


@pytest.mark.parametrize(("name", "reason"), [("absent", "404"), ("short", "9 of 10 bytes came")])
def test_a_file_that_does_not_come_whole_leaves_nothing(published, address, root, name, reason):
    (published / "short").write_text("published")
    with pytest.raises(DownloadError, match=reason):
        Files("Set/raw", (name,), address).fetch(root)
    assert not list((root / "Set" / "raw").iterdir())


def test_an_archive_is_unpacked_under_its_own_name(published, address, root):
    with zipfile.ZipFile(published / "small.zip", "w") as archive:
        archive.writestr("small/raw/edge.csv", "0,1")
    archive = Archive("set_small", "small", f"{address}/small.zip")
    assert not archive.is_present(root)
    archive.fetch(root)
    assert archive.is_present(root)
    assert [path.name for path in root.iterdir()] == ["set_small"]
    assert (archive.path(root) / "raw" / "edge.csv").read_text() == "0,1"


def test_an_archive_unpacked_by_hand_is_taken_as_it_stands(root):
    (root / "small").mkdir(parents=True)
    archive = Archive("set_small", "small", "http://nobody.invalid")
    assert archive.is_present(root)
    assert archive.path(root) == root / "small"


@pytest.mark.parametrize("content", ["no archive", "another folder"])
def test_a_damaged_or_strange_archive_leaves_nothing(published, address, root, content):
    if content == "no archive":
        (published / "small.zip").write_text(content)
    else:
        with zipfile.ZipFile(published / "small.zip", "w") as archive:
            archive.writestr("large/raw/edge.csv", "0,1")
    with pytest.raises(DownloadError, match=r"small\.zip"):
        Archive("set_small", "small", f"{address}/small.zip").fetch(root)
    assert not list(root.iterdir())
