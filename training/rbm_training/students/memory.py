"""How routing memories come to be and move: K-means at the switch, then one moving average a step.

Memories are buffers, never parameters: the optimiser does not see them (docs/method.md, "Student").
Dimension letters: N nodes, D layer input, E experts, K experts per row.
"""

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor

from rbm_training.config import RoutingConfig
from rbm_training.routing import LayerRouting
from rbm_training.rows import Rows, as_array, dense_row, squared_norms, unit_rows, weighted_sums
from rbm_training.students.rbm import RbMLayer, RbMStudent, StudentOutput

MAX_CLUSTERED_ROWS = 100_000


@torch.no_grad()
def start_routing(student: RbMStudent, features: Rows, positions: Tensor, seed: int) -> None:
    """Lay out the memory of each layer by K-means on its unit inputs and clone the experts.

    Layers go in order, so that a deeper layer clusters what the routed layers before it put out
    (method of the paper, section on initialisation). Call it in evaluation mode.
    """
    inputs: Rows = student.scaling(features, positions)
    for index, layer in enumerate(student.routed_layers()):
        memory = cluster_centers(unit_rows(inputs), layer.num_experts, seed + index)
        layer.start_routing(memory.to(layer.memory))
        inputs = layer(inputs)[0].relu()


def cluster_centers(unit_inputs: Rows, num_experts: int, seed: int) -> Tensor:
    """K-means centres (E, D) of unit inputs (N, D); any directions where there is nothing to tell apart."""
    rows = as_array(unit_inputs)
    generator = np.random.default_rng(seed)
    if rows.shape[0] > MAX_CLUSTERED_ROWS:
        rows = rows[np.sort(generator.choice(rows.shape[0], MAX_CLUSTERED_ROWS, replace=False))]
    if not _has_distinct(rows, num_experts):
        return torch.from_numpy(generator.standard_normal((num_experts, rows.shape[1])))
    # One thread: partial sums of several would be added in an order that changes from run to run.
    with threadpool_limits(limits=1):
        centers = KMeans(num_experts, n_init=4, random_state=seed).fit(rows).cluster_centers_
    return torch.from_numpy(centers)


def _has_distinct(rows: npt.NDArray[np.float32] | sp.csr_array, wanted: int) -> bool:
    seen: set[bytes] = set()
    for index in range(rows.shape[0]):
        row = rows[[index]]
        seen.add((row if isinstance(row, np.ndarray) else row.toarray()).tobytes())
        if len(seen) >= wanted:
            return True
    return False


class MemoryAverager:
    """Moves the memories of a student once an optimiser step, from what the step's batches put in.

    For an expert with assigned mass,  M_e ← normalise(γ m̂_e + (1−γ) μ_e),  μ_e = Σ w x̂ / Σ w  over the
    rows of all batches of the step; without mass it keeps its direction. Then every memory is pushed away
    from the mean of the others (the self-similarity term as an explicit step), and an expert that got no
    row for `revive_after` steps takes over the worst-served input.
    """

    def __init__(self, student: RbMStudent, config: RoutingConfig) -> None:
        self.config = config
        self.layers = [_LayerAverage(layer) for layer in student.routed_layers()]

    @torch.no_grad()
    def accumulate(self, output: StudentOutput) -> None:
        """Take a batch's routing in."""
        for average, routing in zip(self.layers, output.layers, strict=True):
            average.accumulate(routing)

    @torch.no_grad()
    def step(self) -> None:
        """Move every memory and start afresh."""
        for average in self.layers:
            average.step(self.config)


class _LayerAverage:
    def __init__(self, layer: RbMLayer) -> None:
        self.layer = layer
        self.idle_steps = torch.zeros(layer.num_experts, dtype=torch.long)
        self._reset()

    def _reset(self) -> None:
        self.sums = torch.zeros_like(self.layer.memory)  # (E, D)
        self.mass = torch.zeros_like(self.layer.memory[:, 0])  # (E,)
        self.worst_similarity = float("inf")
        self.worst_input: Tensor | None = None
        self.worst_expert = 0

    def accumulate(self, routing: LayerRouting) -> None:
        gates = routing.gates()  # (B, E)
        self.sums += weighted_sums(gates, routing.unit_input)
        self.mass += gates.sum(dim=0)
        self._remember_worst(routing)

    def _remember_worst(self, routing: LayerRouting) -> None:
        is_zero = squared_norms(routing.unit_input) == 0
        best = routing.similarity[:, 0].detach().masked_fill(is_zero, float("inf"))
        row = int(best.argmin())
        if float(best[row]) < self.worst_similarity:
            self.worst_similarity = float(best[row])
            self.worst_input = dense_row(routing.unit_input, row).detach().clone()
            self.worst_expert = int(routing.experts[row, 0])

    def step(self, config: RoutingConfig) -> None:
        if config.momentum < 1:
            self._move(config)
        self._reset()

    def _move(self, config: RoutingConfig) -> None:
        served = self.mass > 0
        means = self.sums / self.mass.clamp_min(1e-12).unsqueeze(1)
        moved = unit_rows(config.momentum * self.layer.memory + (1 - config.momentum) * means)
        memory = torch.where(served.unsqueeze(1), moved, self.layer.memory)
        self.layer.memory.copy_(repel(memory, config.self_similarity))
        self.idle_steps = torch.where(served.cpu(), 0, self.idle_steps + 1)
        if int(self.idle_steps.max()) >= config.revive_after:
            self._revive(int(self.idle_steps.argmax()))

    def _revive(self, expert: int) -> None:
        """Give an idle expert the worst-served input, and a copy of the weights that served it."""
        if self.worst_input is None:
            return
        self.layer.memory[expert] = self.worst_input
        self.layer.weight[expert] = self.layer.weight[self.worst_expert]
        self.layer.bias[expert] = self.layer.bias[self.worst_expert]
        if self.layer.log_gain is not None:
            self.layer.log_gain[expert] = self.layer.log_gain[self.worst_expert]
        self.idle_steps[expert] = 0


def repel(memory: Tensor, strength: float) -> Tensor:
    """Push unit memories (E, D) away from the mean of the others, along the sphere.

    One descent step of size `strength` on the self-similarity Σ_i <m̂_i, sg(mean_{j≠i} m̂_j)>.
    """
    E = memory.shape[0]
    if E < 2 or strength == 0:
        return memory
    others = (memory.sum(dim=0) - memory) / (E - 1)
    tangent = others - (others * memory).sum(dim=1, keepdim=True) * memory
    return unit_rows(memory - strength * tangent)
