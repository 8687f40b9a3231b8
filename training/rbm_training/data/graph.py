"""The graph, the split of its nodes, and what a run may look at.

Dimension letters: N nodes, M directed edges, F features, C classes.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from rbm_bundle.manifest_parts import Setting
from rbm_training.errors import TrainingError

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Features = Floats | sp.csr_array

UNLABELLED = -1
SPARSE_SHARE = 1 / 8  # of non-zeros, up to which features are kept sparse and enter a sparse first layer


class GraphError(TrainingError):
    """A graph, or a split of it, that nothing can be learnt from."""

    def __init__(self, source: str, found: str, wanted: str) -> None:
        super().__init__(source, found, wanted)  # all three, so that it can be sent from process to process

    def __str__(self) -> str:
        return "{}: found {}; wanted {}".format(*self.args)


@dataclass(frozen=True, slots=True)
class Graph:
    """An undirected graph with node features and labels.

    Shapes: adjacency (N, N) sparse, symmetric, ones, empty diagonal; features (N, F) dense or sparse;
    labels (N,), `UNLABELLED` (-1) where there is none; node_ids (N,) int64 or str, in any order.
    """

    name: str
    adjacency: sp.csr_array
    features: Features
    labels: Integers
    node_ids: npt.NDArray[Any]
    class_names: tuple[str, ...]

    @property
    def num_nodes(self) -> int:
        """N."""
        return int(self.labels.shape[0])

    @property
    def num_features(self) -> int:
        """F."""
        return int(self.features.shape[1])

    @property
    def num_values(self) -> int:
        """Stored feature values: N·F, or the non-zeros of sparse features."""
        return int(self.features.size)

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.class_names)

    @property
    def class_sizes(self) -> Integers:
        """Labelled nodes of each class, (C,)."""
        return np.bincount(self.labels[self.labels != UNLABELLED], minlength=self.num_classes)

    @property
    def edge_index(self) -> Integers:
        """(2, M): source and target of each edge, both directions."""
        return np.stack(self.adjacency.nonzero()).astype(np.int64)

    def in_best_form(self) -> "Graph":
        """The same graph, its features sparse when at most an eighth of them is non-zero, else dense."""
        sparse = sp.csr_array(self.features)
        sparse.sum_duplicates()
        sparse.eliminate_zeros()
        mostly_zeros = sparse.nnz <= SPARSE_SHARE * self.num_nodes * self.num_features
        return replace(self, features=sparse if mostly_zeros else self.dense_features())

    def dense_features(self) -> Floats:
        """Features as a dense (N, F) matrix."""
        if isinstance(self.features, np.ndarray):
            return self.features
        return np.asarray(self.features.toarray(), np.float32)

    def neighbors_of(self, node: int) -> Integers:
        """Neighbours of one node."""
        span = slice(self.adjacency.indptr[node], self.adjacency.indptr[node + 1])
        return self.adjacency.indices[span].astype(np.int64)

    def subgraph(self, nodes: Integers) -> "Graph":
        """The graph on `nodes`, in their order, with the edges that run among them."""
        return Graph(
            self.name,
            sp.csr_array(self.adjacency[nodes][:, nodes]),
            self.features[nodes],
            self.labels[nodes],
            self.node_ids[nodes],
            self.class_names,
        )


NOBODY: Integers = np.array([], np.int64)


@dataclass(frozen=True, slots=True)
class Split:
    """Which nodes do what; disjoint arrays of node indices.

    `unseen` nodes are held out of everything but the last measurement (inductive setting); `pseudo_unseen`
    ones are validation nodes that are held out alike, so that validation sees how well a student answers for
    nodes it has never met.
    """

    train: Integers
    val: Integers
    test: Integers
    unseen: Integers
    pseudo_unseen: Integers = field(default_factory=NOBODY.copy)


@dataclass(frozen=True, slots=True)
class Task:
    """What a run may look at: the observed graph, and apart from it the nodes it has never seen.

    `observed` is the node-induced subgraph without the unseen and pseudo-unseen nodes (the whole graph in the
    transductive setting); train, val and test index its rows, `observed_nodes`, `unseen` and `pseudo_unseen`
    index the full graph. `class_weights` (C,) are those of true labels in losses, None where all count alike.
    """

    graph: Graph
    observed: Graph
    observed_nodes: Integers
    train: Integers
    val: Integers
    test: Integers
    unseen: Integers
    pseudo_unseen: Integers
    class_weights: Floats | None = None

    @property
    def setting(self) -> Setting:
        """Inductive when nodes are held out."""
        return "inductive" if len(self.unseen) else "transductive"

    @property
    def untrained_classes(self) -> dict[str, int]:
        """Test and unseen nodes of each class that no training label has, by its name."""
        observed, graph = self.observed.labels, self.graph
        tested = np.concatenate([observed[self.test], graph.labels[self.unseen]])
        missing = np.setdiff1d(np.arange(graph.num_classes), observed[self.train])
        return {graph.class_names[label]: int((tested == label).sum()) for label in missing}

    @property
    def known_nodes(self) -> Integers:
        """What the service will know: the observed nodes, then the pseudo-unseen ones, which were held out
        for validation's sake only."""
        return np.concatenate([self.observed_nodes, self.pseudo_unseen])


def make_task(graph: Graph, split: Split) -> Task:
    """Cut the observed graph out: every edge that touches a node held out is gone from it.

    Raises:
        GraphError: sets that overlap, an empty train or validation set, training labels of one class, or no
            test node.
    """
    _check_split(graph, split)
    held_out = np.concatenate([split.unseen, split.pseudo_unseen])
    observed_nodes = np.setdiff1d(np.arange(graph.num_nodes), held_out)
    rows = np.full(graph.num_nodes, -1, np.int64)
    rows[observed_nodes] = np.arange(len(observed_nodes))
    return Task(
        graph=graph,
        observed=graph.subgraph(observed_nodes) if len(held_out) else graph,
        observed_nodes=observed_nodes,
        train=rows[split.train],
        val=rows[split.val],
        test=rows[split.test],
        unseen=split.unseen,
        pseudo_unseen=split.pseudo_unseen,
    )


def whole_task(graph: Graph) -> Task:
    """Everything is observed, every label is learnt from, and nothing is held out to select or test on.

    Validation nodes are the training nodes: accuracies on them say how well those are remembered, no more.
    """
    labelled, everyone = np.flatnonzero(graph.labels != UNLABELLED), np.arange(graph.num_nodes)
    return Task(graph, graph, everyone, labelled, labelled, test=NOBODY, unseen=NOBODY, pseudo_unseen=NOBODY)


def _check_split(graph: Graph, split: Split) -> None:
    parts = {"train": split.train, "val": split.val, "test": split.test, "unseen": split.unseen}
    parts["pseudo_unseen"] = split.pseudo_unseen
    for name in ("train", "val"):
        if not len(parts[name]):
            raise GraphError(graph.name, f"no {name} node", f"at least one labelled {name} node")
    for name, nodes in parts.items():
        if (graph.labels[nodes] == UNLABELLED).any():
            raise GraphError(graph.name, f"unlabelled nodes among {name}", "labelled nodes only")
    everything = np.concatenate(list(parts.values()))
    if len(np.unique(everything)) != len(everything):
        raise GraphError(graph.name, f"a node in two of {', '.join(parts)}", "disjoint sets")
    if len(np.unique(graph.labels[split.train])) < 2:
        name = graph.class_names[graph.labels[split.train[0]]]
        raise GraphError(graph.name, f"training labels of class {name!r} alone", "those of two classes")
    if not len(split.test) and not len(split.unseen):
        raise GraphError(graph.name, "no test node", "at least one labelled node outside train and val")
