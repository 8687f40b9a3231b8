"""Proof that the graphs compute what the student computes: golden rows and the checks before a bundle.

Dimension letters: G golden rows, B batch, F features, P position width, L layers, K experts per row.
"""

import copy
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor

from rbm_bundle.errors import BundleError
from rbm_bundle.golden import GoldenRows, check_parity, measure_parity
from rbm_bundle.manifest_parts import NO_EXPERT, GoldenSpec
from rbm_training.data.graph import Features, Floats
from rbm_training.data.sparse_rows import rows_of
from rbm_training.export.node_table import csr_features
from rbm_training.students.folding import float32_array
from rbm_training.students.student import Student

CHECKED_BATCHES: Final = (1, 2, 7, 64, 1000)
NUM_GOLDEN_ROWS: Final = 64
RTOL: Final = 2e-6
ATOL: Final = 1e-5
ROUTING_MARGIN: Final = 1e-5
MAX_EXEMPT_SHARE: Final = 0.05


def golden_spec(file: str, num_rows: int) -> GoldenSpec:
    """The tolerances every session has to keep."""
    return GoldenSpec(
        file=file,
        num_rows=num_rows,
        rtol=RTOL,
        atol=ATOL,
        routing_margin=ROUTING_MARGIN,
        max_exempt_share=MAX_EXEMPT_SHARE,
    )


def graph_inputs(features: Features, positions: Floats) -> dict[str, npt.NDArray[Any]]:
    """Rows (G, F) and (G, P) by the names of the graph's inputs."""
    inputs: dict[str, npt.NDArray[Any]] = {"positions": positions} if positions.shape[1] else {}
    if isinstance(features, np.ndarray):
        return {"features": features, **inputs}
    padded = csr_features(features).to_padded()
    return {"feature_ids": padded.ids, "feature_values": padded.values, **inputs}


@torch.no_grad()
def reference_rows(student: Student, features: Features, positions: Floats) -> GoldenRows:
    """What the student says in float64 about features (G, F) and positions (G, P)."""
    exact = copy.deepcopy(student).cpu().double().eval()
    rows = rows_of(features, torch.device("cpu")).to(torch.float64)
    output = exact(rows, torch.from_numpy(positions).double())
    gaps = torch.stack([layer.routing_margin.double() for layer in output.layers], dim=1).amin(dim=1)
    return GoldenRows(
        inputs=graph_inputs(features, positions),
        logits=float32_array(output.logits),
        probabilities=float32_array((output.logits / exact.temperature).softmax(dim=1)),
        experts=_stacked([layer.experts for layer in output.layers], NO_EXPERT).numpy(),
        weights=float32_array(_stacked([layer.weights for layer in output.layers], 0)),
        similarity=float32_array(_stacked([layer.similarity for layer in output.layers], 0)),
        routing_gap=float32_array(gaps),
    )


def _stacked(layers: list[Tensor], padding: int) -> Tensor:
    """What each layer says of its experts, (B, K) with a K of its own, as (B, L, K) with the largest."""
    K = max(layer.shape[1] for layer in layers)
    return torch.stack([F.pad(layer, (0, K - layer.shape[1]), value=padding) for layer in layers], dim=1)


def draw_reference(student: Student, features: Features, positions: Floats, seed: int) -> GoldenRows:
    """The student in float64 on as many rows as the largest batch holds: observed ones, the last one zero.

    The rows are a shuffle of the observed ones, repeated where there are too few.
    """
    shuffled = np.random.default_rng(seed).permutation(features.shape[0])
    rows = np.resize(shuffled, max(CHECKED_BATCHES) - 1)
    drawn = np.pad(positions[rows], ((0, 1), (0, 0)))
    return reference_rows(student, _with_zero_row(features[rows]), drawn)


def _with_zero_row(rows: Features) -> Features:
    if isinstance(rows, np.ndarray):
        return np.pad(rows, ((0, 1), (0, 0)))
    bounds = np.append(rows.indptr, rows.indptr[-1])
    return sp.csr_array((rows.data, rows.indices, bounds), shape=(len(bounds) - 1, rows.shape[1]))


def record_golden(reference: GoldenRows, num_observed: int) -> GoldenRows:
    """Rows for the bundle, all of them clear of a tie: different observed ones, and the zero row if it is.

    Raises:
        BundleError: no row is clear of a tie.
    """
    clear = np.flatnonzero(reference.routing_gap >= ROUTING_MARGIN)
    last = len(reference) - 1
    observed = clear[clear < min(num_observed, last)][: NUM_GOLDEN_ROWS - 1]
    rows = np.concatenate([observed, clear[clear == last]])
    if not len(rows):
        raise BundleError("student", "every row at a routing tie", "experts whose memories differ")
    return reference.take(rows)


def check_graphs(graphs: Mapping[str, bytes], reference: GoldenRows, golden: GoldenRows) -> None:
    """Run every graph against the float64 student: each of `CHECKED_BATCHES`, then the golden rows.

    Rows near a tie are exempt and bounded over the whole reference; a small batch may be all of that kind.

    Raises:
        BundleError: a graph is outside the tolerances, or routes a row otherwise.
    """
    for file, graph in graphs.items():
        session = open_session(graph)
        for num_rows in CHECKED_BATCHES:
            allowed = MAX_EXEMPT_SHARE if num_rows == len(reference) else 1.0
            spec = golden_spec(file, num_rows).model_copy(update={"max_exempt_share": allowed})
            batch = reference.take(np.arange(num_rows))
            outputs = run_session(session, batch)
            parity = measure_parity(batch, outputs, ROUTING_MARGIN, reference.logit_scale)
            check_parity(parity, spec, f"{file} at {num_rows} rows")
        parity = measure_parity(golden, run_session(session, golden), ROUTING_MARGIN)
        check_parity(parity, golden_spec(file, len(golden)), f"{file} on the golden rows")


def open_session(graph: bytes) -> onnxruntime.InferenceSession:
    """A quiet one-thread CPU session."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run_session(session: onnxruntime.InferenceSession, rows: GoldenRows) -> dict[str, npt.NDArray[Any]]:
    """Every output of a session for the inputs of some golden rows."""
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, rows.inputs), strict=True))
