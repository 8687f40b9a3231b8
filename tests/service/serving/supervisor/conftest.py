"""A model in service whose engine a test takes down, and its supervision."""

import pytest
from structlog.testing import capture_logs

from rbm_service.errors import BackendError
from rbm_service.inference.batcher import FAILURES_UNTIL_PROBE
from rbm_service.serving.manager import ModelManager
from rbm_service.serving.registry import ModelRegistry
from rbm_service.serving.supervisor import supervising
from rbm_service.settings import Settings
from tests.bundles import repository_of
from tests.gates import until
from tests.model_inputs import brought, model_inputs_of

LIMIT_SECONDS = 60


@pytest.fixture
def models(metrics):
    models = ModelRegistry(metrics)
    yield models
    models.close()


@pytest.fixture
def manager(models, tmp_path, metrics):
    repository_of(tmp_path)
    manager = ModelManager(Settings(models_dir=tmp_path, device="cpu", max_batch_rows=4), metrics, models)
    manager.start()
    yield manager
    manager.close()


@pytest.fixture
def model(manager, models):
    return models.current()


@pytest.fixture
def supervised(manager, models):
    """What happens in the block is supervised; `on_lost` is what is called when there is no hope."""

    def supervised(on_lost=nobody_to_call, limit_seconds=LIMIT_SECONDS):
        return supervising(models, manager.rebuild, limit_seconds, on_lost)

    return supervised


@pytest.fixture
def rebuild(manager, model, monkeypatch):
    """Every try to rebuild calls what is given, with the model and what would rebuild it."""
    load = manager._loader.load

    def really(served):
        return load(served.name, served.version)

    def rebuild(function):
        def load_anew(name, version):
            is_rebuild = (name, version) == (model.name, model.version)
            return function(model, really) if is_rebuild else load(name, version)

        monkeypatch.setattr(manager._loader, "load", load_anew)
        monkeypatch.setattr("rbm_service.serving.supervisor.PAUSES_SECONDS", (0, 0, 0))

    return rebuild


@pytest.fixture
def fail(model, monkeypatch):
    """Batches of the model in service fail from now on, and so do its golden rows."""

    def fail(*args):
        raise RuntimeError("the context is lost")

    async def take_down():
        monkeypatch.setattr(model.batcher, "_compute", fail)
        monkeypatch.setattr(model.batcher, "_probe", fail)
        for _ in range(FAILURES_UNTIL_PROBE):
            with capture_logs(), pytest.raises(BackendError):
                await model.batcher.submit(brought(model_inputs_of(model.bundle, [0])))
        await until(lambda: model.batcher.is_down)

    return take_down


def nobody_to_call():
    raise AssertionError("there was hope")
