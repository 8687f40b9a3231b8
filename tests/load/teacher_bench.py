"""What a request would cost with the teacher: a two-layer GraphSAGE that gathers its neighbourhood.

The graph, its features and the teacher are in memory; nothing is fetched. The teacher is given the fastest
form found for one thread: neighbourhoods are averaged where they lie, without a copy, and before they are
multiplied, since the features are narrower than the hidden layer. Both sides answer for the same nodes, in
turns. Dimension letters: N nodes, M edges, B rows of a request, F features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rbm_training.export.graphs import build_graph
from rbm_training.export.parity import open_session
from tests.load.production import HIDDEN, NUM_CLASSES, NUM_FEATURES, POSITION_WIDTH, production_student
from tests.load.timing import microseconds, time_requests

NUM_NODES, MEAN_DEGREE, EXPONENT = 200_000, 25.0, 3.0
FANOUTS = (15, 10)  # neighbours sampled of a target, and of each of those
NUM_REQUESTS = {1: 1000, 32: 60}
OUTPUTS = ["probabilities", "experts"]

Nodes = np.ndarray


@dataclass(frozen=True)
class LiveGraph:
    """Neighbours of each node in compressed rows, and features (N, F)."""

    indptr: np.ndarray
    neighbors: np.ndarray
    features: Tensor


@dataclass(frozen=True)
class Neighborhoods:
    """Of each of B nodes its neighbours and itself: one list after the other, and where each starts (B,)."""

    nodes: Nodes
    starts: np.ndarray


Gather = Callable[[LiveGraph, Nodes, int], Neighborhoods]


def teacher_results() -> dict[str, float]:
    """Ratios of median latencies, and beside them medians and 99th percentiles in microseconds."""
    graph = power_law_graph()
    degrees = np.diff(graph.indptr)
    results: dict[str, float] = {
        "teacher_graph_mean_degree": float(degrees.mean()),
        "teacher_graph_median_degree": float(np.median(degrees)),
        "teacher_graph_max_degree": int(degrees.max()),
    }
    for num_rows, num_requests in NUM_REQUESTS.items():
        results |= _compare(graph, num_rows, num_requests)
    return results


def power_law_graph() -> LiveGraph:
    """Endpoints drawn in proportion to weights of a power law (Chung & Lu 2002), both directions kept."""
    generator = np.random.default_rng(0)
    weights = generator.pareto(EXPONENT - 1, NUM_NODES) + 1
    cumulative = np.cumsum(weights) / weights.sum()
    drawn = generator.random((2, int(NUM_NODES * MEAN_DEGREE / 2)))
    source, target = np.minimum(np.searchsorted(cumulative, drawn), NUM_NODES - 1)
    edges = np.unique(np.concatenate([source * NUM_NODES + target, target * NUM_NODES + source]))
    source, target = edges // NUM_NODES, edges % NUM_NODES
    indptr = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=NUM_NODES))])
    features = generator.standard_normal((NUM_NODES, NUM_FEATURES), np.float32)
    return LiveGraph(indptr, target, torch.from_numpy(features))


def _compare(graph: LiveGraph, num_rows: int, num_requests: int) -> dict[str, float]:
    generator = np.random.default_rng(num_rows)
    requests = generator.integers(NUM_NODES, size=(num_requests, num_rows))
    weights = _teacher_weights()
    answers = {
        "full_teacher": partial(answer_by_teacher, graph, weights, whole_neighborhoods),
        "sampled_teacher": partial(answer_by_teacher, graph, weights, partial(sample, generator)),
        "student": _student(graph),
    }
    seconds = time_requests(answers, list(requests))
    results = {}
    for name, taken in seconds.items():
        results[f"{name}_b{num_rows}_us"] = microseconds(taken)
        results[f"{name}_b{num_rows}_p99_us"] = 1e6 * float(np.quantile(taken, 0.99))
    for name in ("full_teacher", "sampled_teacher"):
        ratio = np.median(seconds[name]) / np.median(seconds["student"])
        results[f"student_over_{name}_b{num_rows}"] = float(ratio)
    return results


def whole_neighborhoods(graph: LiveGraph, nodes: Nodes, fanout: int) -> Neighborhoods:
    """Every neighbour, whatever the fan-out."""
    first = graph.indptr[nodes]
    counts = graph.indptr[nodes + 1] - first + 1  # one place more for the node itself, the last of its list
    ends = np.cumsum(counts)
    starts = ends - counts
    places = np.repeat(first - starts, counts) + np.arange(ends[-1])
    places[ends - 1] = 0
    found = graph.neighbors[places]
    found[ends - 1] = nodes
    return Neighborhoods(found, starts)


def sample(generator: np.random.Generator, graph: LiveGraph, nodes: Nodes, fanout: int) -> Neighborhoods:
    """`fanout` neighbours of each node, drawn with repetition; the node itself where it has none."""
    first = graph.indptr[nodes]
    degrees = graph.indptr[nodes + 1] - first
    picks = (generator.random((len(nodes), fanout)) * degrees[:, None]).astype(np.int64)
    places = np.minimum(first[:, None] + picks, len(graph.neighbors) - 1)
    drawn = np.where(degrees[:, None] > 0, graph.neighbors[places], nodes[:, None])
    lists = np.concatenate([drawn, nodes[:, None]], axis=1)
    return Neighborhoods(lists.ravel(), np.arange(len(nodes)) * (fanout + 1))


@torch.inference_mode()
def answer_by_teacher(graph: LiveGraph, weights: list[Tensor], gather: Gather, nodes: Nodes) -> Tensor:
    """Probabilities (B, C): two rounds of gathering, averaging and multiplying.

    A neighbour that several nodes of the request share is computed once.
    """
    first, second = weights
    inner = gather(graph, nodes, FANOUTS[0])
    needed, places = inner.nodes, np.arange(len(inner.nodes))
    if len(nodes) > 1:
        needed, places = np.unique(inner.nodes, return_inverse=True)
    hidden = (_means(graph.features, gather(graph, needed, FANOUTS[1])) @ first).relu()
    return (_means(hidden, Neighborhoods(places, inner.starts)) @ second).softmax(dim=1)


def _means(rows: Tensor, lists: Neighborhoods) -> Tensor:
    nodes, starts = torch.from_numpy(lists.nodes), torch.from_numpy(lists.starts)
    return functional.embedding_bag(nodes, rows, starts, mode="mean")


def _teacher_weights() -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(NUM_FEATURES, HIDDEN) / 10, torch.randn(HIDDEN, NUM_CLASSES) / 16]


def _student(graph: LiveGraph) -> Callable[[Nodes], object]:
    """What the service does for known ids: look features and positions up, run the graph."""
    session = open_session(build_graph(production_student(), "grouped", "dense"))
    features = graph.features.numpy()
    positions = np.random.default_rng(1).standard_normal((NUM_NODES, POSITION_WIDTH), np.float32)

    def answer(nodes: Nodes) -> object:
        return session.run(OUTPUTS, {"features": features[nodes], "positions": positions[nodes]})

    return answer
