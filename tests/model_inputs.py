"""What the graph of a bundle takes for some of the nodes it knows."""

from collections.abc import Sequence

import numpy as np

from rbm_bundle import Bundle
from rbm_bundle.nodes import UNKNOWN
from rbm_service.inference.batch import InputGatherer
from rbm_service.inference.features import graph_inputs
from rbm_service.inference.preprocessing import RequestRows
from rbm_service.runtime.tensors import padded_width


def model_inputs_of(bundle: Bundle, rows: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
    return InputGatherer(bundle).inputs_of([known(rows)])


def known(rows: Sequence[int] | np.ndarray, width: int = 0) -> RequestRows:
    """A request for known nodes, which leaves all else to the bundle."""
    return RequestRows(np.asarray(rows), {}, width, ["cached"] * len(rows))


def brought(model_inputs: dict[str, np.ndarray]) -> RequestRows:
    """A request that brings all that the graph takes."""
    num_rows = len(model_inputs["positions"])
    return RequestRows(
        [UNKNOWN] * num_rows, model_inputs, padded_width(model_inputs), ["supplied"] * num_rows
    )


def random_inputs(bundle: Bundle, num_rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Known nodes, some of them many times."""
    return model_inputs_of(bundle, np.random.default_rng(seed).integers(0, bundle.nodes.num_nodes, num_rows))


def row_of_every_word(bundle: Bundle) -> dict[str, np.ndarray]:
    """A row of a sparse bundle that is longer than that of any node it knows."""
    F = bundle.manifest.features.num_features
    features = graph_inputs(np.ones((1, F), np.float32), bundle.manifest.features.form)
    return {**features, "positions": bundle.nodes.positions_of(np.array([0]))}


def assert_same_answers(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    """As close as golden rows must be: the order of a sum may depend on the number of rows."""
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5)
