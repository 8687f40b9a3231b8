"""A service over several versions of a model, and an admin."""

import pytest
from starlette.testclient import TestClient

from rbm_bundle import ModelRepository
from rbm_service.app import create_app
from rbm_service.settings import Settings
from tests.bundles import TINY
from tests.keys import ADMIN_KEY_LINE


@pytest.fixture
def repository(tmp_path):
    """Two versions, the first of them promoted, and one that is broken."""
    repository = ModelRepository(tmp_path / "models")
    for _ in range(3):
        repository.publish(TINY)
    repository.promote("tiny", 1)
    golden = repository.path_of("tiny", 3) / "golden.npz"
    golden.write_bytes(golden.read_bytes()[:-1])
    return repository


@pytest.fixture
def admin_settings(repository, tmp_path):
    (tmp_path / "key").write_text(ADMIN_KEY_LINE)
    return Settings(
        models_dir=repository.root,
        device="cpu",
        max_batch_rows=4,
        reload_poll_seconds=0,
        admin_key_file=tmp_path / "key",
    )


@pytest.fixture
def admin(admin_settings):
    with TestClient(create_app(admin_settings)) as client:
        yield client
