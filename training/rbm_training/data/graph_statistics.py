"""What a graph is like, and what became of all that its source held.

Dimension letters: N nodes, F features, S nodes of the source.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from rbm_training.data.edges import EdgeCounts
from rbm_training.data.graph import UNLABELLED, Features, Graph
from rbm_training.data.rare_classes import MergedClasses

MOST_CLASSES = 12
MOST_NAMES = 5


@dataclass(frozen=True, slots=True)
class Source:
    """What the files of a graph held besides what became the graph."""

    edges: EdgeCounts
    unused: tuple[str, ...] = ()
    """What was there and is not read, each as `place: reason`."""
    has_features: bool = True
    """Whether it brought features, or they are the nodes' degrees."""
    feature_names: tuple[str, ...] = ()
    """Names of the features where each is a column of numbers, in their order; otherwise none."""


@dataclass(frozen=True, slots=True)
class GraphStatistics:
    """The account of one graph. Edges are undirected, and counted once.

    `source` is None of a graph that no files of the user's hold, `merged_classes` where no rare classes are
    taken for one; `edge_homophily` is the share of the edges between two labelled nodes whose labels are the
    same, `chance_homophily` what that would be if the ends of these edges were joined at random; both are
    None where there is no such edge.
    """

    num_nodes: int
    num_source_nodes: int
    num_edges: int
    num_isolated_nodes: int
    num_components: int
    largest_component: int
    largest_degree: int
    num_labelled_edges: int
    edge_homophily: float | None
    chance_homophily: float | None
    class_sizes: Mapping[str, int]
    num_features: int
    num_constant_features: int
    source: Source | None
    merged_classes: MergedClasses | None = None

    def lines(self) -> list[tuple[str, str]]:
        """The account in words: a title and what there is to say."""
        told = [("nodes", self._nodes()), ("edges", self._edges()), ("edge homophily", self._homophily())]
        told.append(("labels", self._labels()))
        if self.merged_classes is not None:
            told.append((f"merged as {self.merged_classes.name}", _sizes(self.merged_classes.sizes)))
        told.append(("features", self._features()))
        return told + [("not read", place) for place in (self.source.unused if self.source else ())]

    def _nodes(self) -> str:
        cut = f" of {self.num_source_nodes:,}" if self.num_source_nodes != self.num_nodes else ""
        return (
            f"{self.num_nodes:,}{cut}, {self.num_isolated_nodes:,} without an edge;"
            f" {self.num_components:,} connected components, the largest of {self.largest_component:,} nodes;"
            f" largest degree {self.largest_degree:,}"
        )

    def _edges(self) -> str:
        if self.source is None:
            return f"{self.num_edges:,}, undirected"
        given = self.source.edges
        return (
            f"{self.num_edges:,}, undirected, of {given.num_given:,} given; left out: {given.num_reversed:,} "
            f"that are there the other way round, {given.num_repeated:,} repeated,"
            f" {given.num_self_loops:,} self-loops"
        )

    def _homophily(self) -> str:
        share = "unknown"
        if self.edge_homophily is not None:
            share = f"{self.edge_homophily:.2f}, by chance {self.chance_homophily:.2f}"
        return f"{share}, over {self.num_labelled_edges:,} edges between labelled nodes"

    def _labels(self) -> str:
        sizes, total = self.class_sizes, sum(self.class_sizes.values())
        return f"{total:,} in {len(sizes):,} classes: {_sizes(sizes)}"

    def _features(self) -> str:
        if self.source is not None and not self.source.has_features:
            return "none given; a one and log(1 + degree) in their place"
        told, constant = f"{self.num_features:,}", self.num_constant_features
        if self.source is not None and self.source.feature_names:
            told += f": {first_of(self.source.feature_names, MOST_NAMES)}"
        return f"{told}; {constant:,} of them the same for all nodes" if constant else told


def first_of(told: Sequence[str], most: int) -> str:
    """The first of some words, and how many more there are."""
    more = len(told) - most
    return ", ".join([*told[:most], *([f"and {more:,} more"] if more > 0 else [])])


def _sizes(of_classes: Mapping[str, int]) -> str:
    """Labels of each class, of many the first."""
    return first_of([f"{name}: {size:,}" for name, size in of_classes.items()], MOST_CLASSES)


def graph_statistics(
    graph: Graph, num_source_nodes: int, source: Source | None, merged: MergedClasses | None = None
) -> GraphStatistics:
    """The account of a graph whose source had so many nodes, and some of whose classes may be merged."""
    degrees = np.diff(graph.adjacency.indptr)
    num_components, component = sp.csgraph.connected_components(graph.adjacency, directed=False)
    labels = graph.labels.astype(np.int32)
    one, other = np.repeat(labels, degrees), labels[graph.adjacency.indices]
    is_labelled = (one != UNLABELLED) & (other != UNLABELLED)
    one, same = one[is_labelled], (one == other)[is_labelled]
    return GraphStatistics(
        num_nodes=graph.num_nodes,
        num_source_nodes=num_source_nodes,
        num_edges=graph.adjacency.nnz // 2,
        num_isolated_nodes=int((degrees == 0).sum()),
        num_components=int(num_components),
        largest_component=int(np.bincount(component).max()),
        largest_degree=int(degrees.max()),
        num_labelled_edges=len(same) // 2,
        edge_homophily=float(same.mean()) if len(same) else None,
        chance_homophily=float(((np.bincount(one) / len(one)) ** 2).sum()) if len(one) else None,
        class_sizes=dict(zip(graph.class_names, graph.class_sizes.tolist(), strict=True)),
        num_features=graph.num_features,
        num_constant_features=_num_constant(graph.features),
        source=source,
        merged_classes=merged,
    )


def _num_constant(features: Features) -> int:
    """Columns (F) with the same value for all nodes."""
    if isinstance(features, np.ndarray):
        return int((features.min(axis=0) == features.max(axis=0)).sum())
    columns, column_of, counts = np.unique(features.indices, return_inverse=True, return_counts=True)
    lowest, highest = np.full(len(columns), np.inf), np.full(len(columns), -np.inf)
    np.minimum.at(lowest, column_of, features.data)
    np.maximum.at(highest, column_of, features.data)
    N, F = features.shape
    return int(F - len(columns) + ((counts == N) & (lowest == highest)).sum())
