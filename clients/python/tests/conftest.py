"""A running service, for the tests of the client."""

from collections.abc import Iterator

import numpy as np
import pytest

from rbm_client import Client
from tests.bundles import KNOWN_IDS, TINY, repository_of
from tests.keys import ADMIN_KEY, key_files
from tests.servers import RunningServer, running_server

MAX_ROWS = 100


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Two versions of the tiny bundle, the first promoted, in a service that takes few rows at once."""
    root = tmp_path_factory.mktemp("client")
    repository_of(root / "models").publish(TINY)
    settings = {**key_files(root), "max_request_rows": MAX_ROWS, "model_control": "explicit"}
    with running_server(root / "models", root / "log", **settings) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server.url, api_key=ADMIN_KEY) as client:
        yield client


@pytest.fixture(scope="session")
def many_ids() -> list[int]:
    return np.random.default_rng(0).choice(KNOWN_IDS, 333).tolist()


@pytest.fixture(scope="session")
def many_features() -> np.ndarray:
    return np.random.default_rng(1).random((333, 12))
