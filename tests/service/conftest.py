"""What the tests of the service share: the tiny bundle in a repository, an engine over it, a client."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from rbm_bundle import Bundle, read_bundle
from rbm_service.app import create_app
from rbm_service.inference.batch import InputGatherer, Run
from rbm_service.inference.batcher import Batcher
from rbm_service.observability.metrics import Metrics
from rbm_service.observability.model_metrics import ModelMetrics
from rbm_service.runtime.engine import Engine
from rbm_service.settings import Settings
from tests.batchers import EngineGate
from tests.bundles import TINY
from tests.servers import find_free_port


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("RBM_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return read_bundle(TINY)


@pytest.fixture(scope="session")
def sparse_bundle() -> Bundle:
    """24 nodes, 200 features of which a node has up to 40, 4-wide positions, 3 classes."""
    return read_bundle(TINY.with_name("sparse_bundle"))


@pytest.fixture(scope="session", params=["dense", "sparse"])
def either_bundle(request: pytest.FixtureRequest) -> Bundle:
    return read_bundle(TINY if request.param == "dense" else TINY.with_name("sparse_bundle"))


@pytest.fixture(scope="session", params=["tiny", "sparse", "mixed"])
def any_bundle(request: pytest.FixtureRequest) -> Bundle:
    """Dense features, sparse features, and a plain layer before experts behind a learnt router."""
    return read_bundle(TINY.with_name(f"{request.param}_bundle"))


@pytest.fixture(scope="session")
def engine(bundle: Bundle) -> Engine:
    return Engine(bundle, "cpu", intra_op_threads=1)


@pytest.fixture
def settings(models_dir: Path) -> Settings:
    return Settings(models_dir=models_dir, device="cpu", max_batch_rows=64)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture
def free_port() -> int:
    return find_free_port()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def model_metrics(metrics: Metrics, bundle: Bundle) -> ModelMetrics:
    manifest = bundle.manifest
    shown = ModelMetrics(metrics, "tiny", "1", manifest.labels, manifest.architecture.num_experts)
    shown.show()
    return shown


@pytest.fixture
def gate(engine: Engine) -> EngineGate:
    return EngineGate(engine.run)


@pytest.fixture
def make_batcher(
    bundle: Bundle, engine: Engine, model_metrics: ModelMetrics
) -> Iterator[Callable[..., Batcher]]:
    batchers: list[Batcher] = []
    engine.runner.on_execution = model_metrics.count_execution

    def make(run: Run, *, max_batch_rows: int = 64, max_queued_rows: int = 256, **others: object) -> Batcher:
        limits = {"max_batch_rows": max_batch_rows, "max_queued_rows": max_queued_rows}
        batchers.append(Batcher(run, InputGatherer(bundle), model_metrics, **limits, **others))
        return batchers[-1]

    yield make
    engine.runner.on_execution = lambda num_rows: None
    for batcher in batchers:
        batcher.close()
