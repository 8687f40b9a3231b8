"""What a request would cost with the teacher: a two-layer GraphSAGE that gathers its neighbourhood.

The graph, its features and the teacher are in memory; nothing is fetched. The teacher runs in two ways: with
PyTorch Geometric's convolutions on the gathered neighbourhood, as one would serve it, and tuned by hand, its
neighbourhoods averaged where they lie, without a copy. Every side answers for the same nodes, in turns, on
one thread. Dimension letters: N nodes, B rows of a request, F features, C classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch_geometric.nn import SAGEConv

from rbm_training.export.graphs import build_graph
from rbm_training.export.parity import open_session
from tests.load.production import HIDDEN, NUM_CLASSES, NUM_FEATURES, POSITION_WIDTH, production_student
from tests.load.timing import microseconds, time_requests

NUM_NODES, MEAN_DEGREE, EXPONENT = 200_000, 25.0, 3.0
FANOUTS = (15, 10)  # neighbours sampled of a target, and of each of those
NUM_REQUESTS = {1: 1500, 32: 150}
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
    convolutions = _teacher()
    whole, sampled = whole_neighborhoods, partial(sample, generator)
    answers = {
        "full_teacher": partial(answer_with_pyg, graph, convolutions, whole),
        "sampled_teacher": partial(answer_with_pyg, graph, convolutions, sampled),
        "tuned_full_teacher": partial(answer_tuned, graph, convolutions, whole),
        "tuned_sampled_teacher": partial(answer_tuned, graph, convolutions, sampled),
        "student": _student(graph),
    }
    seconds = time_requests(answers, list(requests))
    results = {}
    for name, taken in seconds.items():
        results[f"{name}_b{num_rows}_us"] = microseconds(taken)
        results[f"{name}_b{num_rows}_p99_us"] = 1e6 * float(np.quantile(taken, 0.99))
    for name in answers.keys() - {"student"}:
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
def answer_with_pyg(
    graph: LiveGraph, convolutions: Sequence[SAGEConv], gather: Gather, nodes: Nodes
) -> Tensor:
    """Probabilities (B, C): each node once, convolutions from sources to targets."""
    inner = gather(graph, nodes, FANOUTS[0])
    middle, inner_places = np.unique(inner.nodes, return_inverse=True)
    outer = gather(graph, middle, FANOUTS[1])
    sources, outer_places = np.unique(outer.nodes, return_inverse=True)
    x = graph.features[torch.from_numpy(sources)]
    first, second = convolutions
    hidden = first((x, None), _edges(outer, outer_places), size=(len(sources), len(middle))).relu()
    logits = second((hidden, None), _edges(inner, inner_places), size=(len(middle), len(nodes)))
    return logits.softmax(dim=1)


def _edges(lists: Neighborhoods, places: np.ndarray) -> Tensor:
    """(2, M): the place of each listed node among the sources, and the target whose list it is on."""
    counts = np.diff(lists.starts, append=len(lists.nodes))
    targets = np.repeat(np.arange(len(counts)), counts)
    return torch.from_numpy(np.stack([places, targets]))


@torch.inference_mode()
def answer_tuned(graph: LiveGraph, convolutions: Sequence[SAGEConv], gather: Gather, nodes: Nodes) -> Tensor:
    """The same, averaged in place; a neighbour that several nodes of the request share is computed once."""
    inner = gather(graph, nodes, FANOUTS[0])
    needed, places = inner.nodes, np.arange(len(inner.nodes))
    if len(nodes) > 1:
        needed, places = np.unique(inner.nodes, return_inverse=True)
    first, second = (convolution.lin_l for convolution in convolutions)
    hidden = first(_means(graph.features, gather(graph, needed, FANOUTS[1]))).relu()
    return second(_means(hidden, Neighborhoods(places, inner.starts))).softmax(dim=1)


def _means(rows: Tensor, lists: Neighborhoods) -> Tensor:
    nodes, starts = torch.from_numpy(lists.nodes), torch.from_numpy(lists.starts)
    return functional.embedding_bag(nodes, rows, starts, mode="mean")


def _teacher() -> list[SAGEConv]:
    """Two layers; a node is on the list of its own neighbourhood, so it needs no weight of its own."""
    torch.manual_seed(0)
    widths = ((NUM_FEATURES, HIDDEN), (HIDDEN, NUM_CLASSES))
    return [SAGEConv((a, a), b, aggr="mean", root_weight=False).eval() for a, b in widths]


def _student(graph: LiveGraph) -> Callable[[Nodes], object]:
    """What the service does for known ids: look features and positions up, run the graph."""
    session = open_session(build_graph(production_student(), "grouped", "dense"))
    features = graph.features.numpy()
    positions = np.random.default_rng(1).standard_normal((NUM_NODES, POSITION_WIDTH), np.float32)

    def answer(nodes: Nodes) -> object:
        return session.run(OUTPUTS, {"features": features[nodes], "positions": positions[nodes]})

    return answer
