"""A service, and the tensors that the client of Triton sends to it."""

from collections.abc import Iterator

import numpy as np
import tritonclient.http as triton

from tests.bundles import repository_of
from tests.servers import RunningServer, running_server

IDS = np.array([105, 100, 195], np.int64)


def serve(tmp_path_factory, bundle) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp(bundle.manifest.name)
    repository_of(folder / "models", bundle.path)
    with running_server(folder / "models", folder / "log") as running:
        yield running


def tensor(name, array, datatype, binary=True, module=triton):
    entry = module.InferInput(name, list(array.shape), datatype)
    return entry.set_data_from_numpy(array, binary_data=binary)


def node_ids(array=IDS, binary=True):
    return tensor("node_ids", array, "INT64", binary)


def probabilities_of_classify(server, **body):
    predictions = server.classify({**body, "return_probabilities": True})["predictions"]
    return np.array([row["probabilities"] for row in predictions], np.float32)
