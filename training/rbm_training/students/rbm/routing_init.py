"""How routing starts: memories at the centres of what their layer sees, experts as clones of one.

Dimension letters: N nodes, D layer input, E experts.
"""

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from sklearn.cluster import KMeans, kmeans_plusplus
from threadpoolctl import threadpool_limits
from torch import Tensor

from rbm_training.config import RoutingConfig
from rbm_training.data.sparse_rows import (
    Matrix,
    Rows,
    as_array,
    column_means,
    row_batches,
    squared_norms,
    unit_rows,
)
from rbm_training.students.rbm.layer import RbMLayer
from rbm_training.students.student import Student

MAX_CLUSTERED_ROWS = 100_000
SPHERICAL_STEPS = 50


@torch.no_grad()
def start_routing(student: Student, scaled: Rows, config: RoutingConfig, seed: int, batch_rows: int) -> None:
    """Lay out the memory of each layer among its inputs and clone the experts.

    Layers go in order, so that a deeper layer clusters what the routed layers before it put out
    (method of the paper, section on initialisation). Of more than 100,000 rows it looks at a sample of as
    many, which the seed fixes: centres and spread need no more. Call it in evaluation mode.

    Args:
        scaled: inputs (N, F + P) of the first layer.
        batch_rows: rows that a layer is given at a time.
    """
    inputs = _sample(scaled, seed)
    for layer in student.following_layers():
        layer.upcycle(config.clone_noise)
    for index, layer in enumerate(student.routing_layers()):
        if isinstance(layer, RbMLayer):
            _lay_out(layer, inputs, config, seed + index)
        inputs = torch.cat([layer(batch)[0].relu() for batch in row_batches(inputs, batch_rows)])


def _sample(rows: Rows, seed: int) -> Rows:
    """All rows, or, in their order, as many as are clustered at most."""
    if len(rows) <= MAX_CLUSTERED_ROWS:
        return rows
    drawn = np.random.default_rng(seed).choice(len(rows), MAX_CLUSTERED_ROWS, replace=False)
    return rows[torch.from_numpy(np.sort(drawn)).to(rows.device)]


def _lay_out(layer: RbMLayer, inputs: Rows, config: RoutingConfig, seed: int) -> None:
    rows = layer.read(inputs)
    is_centered = layer.center is not None
    # K-means finds the same wherever the origin lies, so that rows to be centred can stay sparse until then.
    keys = unit_rows(rows) if layer.metric == "cosine" and not is_centered else rows
    centers = cluster_centers(keys, layer.num_experts, seed, config.memory_init).to(layer.memory)
    if layer.center is not None:
        layer.center.copy_(column_means(rows))
        centers -= layer.center
    layer.start_routing(centers, clone_noise=config.clone_noise)
    if layer.metric == "euclidean":  # s² was 1 until here
        nearest = -2 * layer.route(inputs).similarity[:, 0]
        layer.spread.fill_(float(nearest.mean().clamp_min(1e-6)))


def cluster_centers(keys: Rows, num_experts: int, seed: int, start: str = "kmeans") -> Tensor:
    """Where E memories start among the keys (N, D) of a layer, (E, D); any directions where there is nothing
    to tell apart."""
    rows = as_array(keys)
    if start != "kmeans":  # which takes its centres from among the rows, and a zero points nowhere
        rows = rows[(squared_norms(keys) > 0).cpu().numpy()]
    if not _has_distinct(rows, num_experts):
        return torch.from_numpy(np.random.default_rng(seed).standard_normal((num_experts, rows.shape[1])))
    # One thread: partial sums of several would be added in an order that changes from run to run.
    with threadpool_limits(limits=1):
        return torch.from_numpy(_centers(rows, num_experts, seed, start))


def _centers(rows: Matrix, num_experts: int, seed: int, start: str) -> npt.NDArray[np.floating]:
    if start == "random":
        drawn = np.random.default_rng(seed).choice(rows.shape[0], num_experts, replace=False)
        return _dense(rows[drawn])
    if start == "spherical":
        return spherical_centers(rows, num_experts, seed)
    fitted = KMeans(num_experts, n_init=4, random_state=seed).fit(rows)
    return np.asarray(fitted.cluster_centers_)


def spherical_centers(rows: Matrix, num_experts: int, seed: int) -> npt.NDArray[np.floating]:
    """Spherical K-means (Dhillon & Modha 2001): centres (E, D) of norm 1 on rows (N, D) of norm 1, each the
    direction of the sum of the rows it is the most similar to. A centre without rows stays."""
    started, _ = kmeans_plusplus(rows, num_experts, random_state=seed)
    centers = _unit(_dense(started))
    for _ in range(SPHERICAL_STEPS):
        owner = np.asarray(rows @ centers.T).argmax(axis=1)
        member = sp.csr_array(
            (np.ones(len(owner)), (owner, np.arange(len(owner)))), (num_experts, len(owner))
        )
        sums = _dense(member @ rows)
        moved = np.where(sums.any(axis=1, keepdims=True), _unit(sums), centers)
        if np.allclose(moved, centers, atol=1e-6):
            break
        centers = moved
    return centers


def _unit(rows: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _dense(rows: Matrix | npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    return rows if isinstance(rows, np.ndarray) else np.asarray(rows.toarray())


def _has_distinct(rows: Matrix, wanted: int) -> bool:
    seen: set[bytes] = set()
    for index in range(rows.shape[0]):
        row = rows[[index]]
        seen.add((row if isinstance(row, np.ndarray) else row.toarray()).tobytes())
        if len(seen) >= wanted:
            return True
    return False
