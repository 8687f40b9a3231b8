"""What a graph puts out: logits, calibrated probabilities, and how every layer routed.

Dimension letters: B batch, L layers, without those that follow the first one, K experts per row, the most of
any layer.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from rbm_bundle.manifest_parts import NO_EXPERT
from rbm_training.onnx.builder import GraphBuilder
from rbm_training.onnx.router import Choice

Values = npt.NDArray[Any]


def put_out(graph: GraphBuilder, last: str, choices: Sequence[Choice | None], temperature: float) -> None:
    """Name the outputs of a graph: from what its last layer puts out, and from the choice of each of its L
    layers, None of one that has a single expert."""
    logits = graph.add("Identity", last, name="logits")
    calibrated = graph.add("Div", logits, graph.constant(temperature))
    graph.add("Softmax", calibrated, name="probabilities", axis=-1)
    K = max(1 if choice is None else choice.top_k for choice in choices)
    plain: dict[str, Values] = {
        "experts": np.array([0, *[NO_EXPERT] * (K - 1)], np.int64),
        "weights": np.array([1, *[0] * (K - 1)], np.float32),
        "similarity": np.zeros(K, np.float32),
    }
    repeated = _Repeated(graph)
    for name, values in plain.items():
        if any(choices):
            _stack(graph, name, choices, values, repeated)
        else:
            repeated.add(np.tile(values, (len(choices), 1)), name)


class _Repeated:
    """What is the same for every row of a batch."""

    def __init__(self, graph: GraphBuilder) -> None:
        self._graph = graph
        self._zeros: str | None = None

    def add(self, values: Values, name: str | None = None) -> str:
        """The values once a row: (B, ...)."""
        if self._zeros is None:
            self._zeros = self._add_zeros()
        table = self._graph.constant(values[None], values.dtype)
        return self._graph.add("Gather", table, self._zeros, axis=0, name=name)

    def _add_zeros(self) -> str:
        """Zeros (B,), by operators whose shapes depend on no data: nothing, be it a number or not, is greater
        than itself."""
        column = self._graph.add("Gather", "logits", self._graph.constant(0, np.int64), axis=1)
        return self._graph.add("Cast", self._graph.add("Greater", column, column), to=TensorProto.INT64)


def _stack(
    graph: GraphBuilder, name: str, choices: Sequence[Choice | None], plain: Values, repeated: _Repeated
) -> None:
    """One output (B, L, K), laid side by side and cut; a layer with less to say ends like `plain` (K,)."""
    parts = []
    for choice in choices:
        num_said = 0 if choice is None else choice.top_k
        if choice is not None:
            parts.append(getattr(choice, name))
        if num_said < len(plain):
            parts.append(repeated.add(plain[num_said:]))
    side_by_side = graph.add("Concat", *parts, axis=1)  # (B, L·K)
    graph.add("Reshape", side_by_side, graph.integers(-1, len(choices), len(plain)), name=name)
