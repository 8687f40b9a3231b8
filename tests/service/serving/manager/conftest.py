"""A repository with one version in service, and the manager that polls its promotions."""

import asyncio

import pytest
from structlog.testing import capture_logs

from rbm_bundle import ModelRepository
from rbm_service.serving.manager import ModelManager
from rbm_service.serving.registry import ModelRegistry
from rbm_service.settings import Settings
from tests.bundles import TINY


class ManagedModel:
    """A repository with version 1 in service, and its manager, which polls when it is told to."""

    def __init__(self, root, metrics, **settings):
        self.repository = ModelRepository(root)
        self.folder = root / "tiny"
        self.metrics = metrics
        self.publish(promote=True)
        settings = Settings(models_dir=root, device="cpu", max_batch_rows=4, **settings)
        self.models = ModelRegistry(metrics)
        self.manager = ModelManager(settings, metrics, self.models)
        self.manager.start()

    def publish(self, bundle=TINY, *, promote=False):
        version = self.repository.publish(bundle)
        if promote:
            self.repository.promote("tiny", version)
        return version

    def publish_broken(self):
        version = self.publish(promote=True)
        path = self.folder / str(version) / "golden.npz"
        path.write_bytes(path.read_bytes()[:-1])
        return version

    def poll(self):
        """The log lines of one poll."""
        with capture_logs() as lines:
            asyncio.run(self.manager.poll_once())
        return [line["event"] for line in lines]

    def outcomes(self):
        value = self.metrics.registry.get_sample_value
        return {
            outcome: value("rbm_model_loads_total", {"model_name": "tiny", "outcome": outcome})
            for outcome in ("loaded", "refused")
        }

    @property
    def version(self):
        return self.models.current().version


@pytest.fixture
def start_managed(tmp_path, metrics):
    started = []

    def start(**settings):
        started.append(ManagedModel(tmp_path / "models", metrics, **settings))
        return started[-1]

    yield start
    for managed in started:
        managed.manager.close()
        managed.models.close()


@pytest.fixture
def managed(start_managed):
    return start_managed()


@pytest.fixture
def explicit(start_managed, tmp_path):
    return start_managed(model_control="explicit", admin_key_file=tmp_path / "key", reload_poll_seconds=0.01)
