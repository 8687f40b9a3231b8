"""A repository, three bundles that answer differently, and what each of them answers."""

import pytest
from starlette.testclient import TestClient

from rbm_bundle import read_bundle
from rbm_service.app import create_app
from rbm_service.settings import Settings
from tests.bundles import TINY, repository_of, with_other_answers
from tests.keys import ADMIN_KEY_LINE
from tests.servers import running_server
from tests.system.model_changes.versions import QUERIES, probabilities_of


def answers_of(bundle, root):
    """What this bundle alone answers to every query."""
    repository_of(root, bundle.path)
    with TestClient(create_app(Settings(models_dir=root, device="cpu", max_batch_rows=64))) as client:
        return [probabilities_of(client.post("/classify", json=query).json()) for query in QUERIES]


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """Three that answer differently, by their graphs and by their node tables."""
    root = tmp_path_factory.mktemp("bundles")
    tiny = read_bundle(TINY)
    return [tiny, *(with_other_answers(tiny, root / str(seed), seed) for seed in (1, 2))]


@pytest.fixture(scope="session")
def expected(bundles, tmp_path_factory):
    return [answers_of(bundle, tmp_path_factory.mktemp("alone")) for bundle in bundles]


@pytest.fixture
def repository(tmp_path):
    return repository_of(tmp_path / "models")


@pytest.fixture
def admin_key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(ADMIN_KEY_LINE)
    return path


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request):
    if request.param == "cuda":
        request.getfixturevalue("cuda_device")
    return request.param


@pytest.fixture
def serve(repository, device, tmp_path):
    def serve(**settings):
        ours = {"device": device, "reload_poll_seconds": 0.01}
        return running_server(repository.root, tmp_path / "server.log", **ours | settings)

    return serve
