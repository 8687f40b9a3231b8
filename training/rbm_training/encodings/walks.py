"""Random walks over a graph, all at once.

First order (DeepWalk, Perozzi et al., KDD 2014): every neighbour is equally likely. Second order (node2vec,
Grover & Leskovec, KDD 2016): a neighbour's weight depends on the node the walk came from.
"""

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from rbm_training.data.graph import Integers


def uniform_walks(
    adjacency: sp.csr_array, nodes: Integers, length: int, generator: np.random.Generator
) -> Integers:
    """One uniform walk from each of the given nodes; (len(nodes), length).

    Every node must have a neighbour.
    """
    walks = np.empty((len(nodes), length), np.int64)
    walks[:, 0] = nodes
    for step in range(1, length):
        walks[:, step] = _draw_neighbors(adjacency, walks[:, step - 1], generator)
    return walks


def second_order_walks(
    adjacency: sp.csr_array,
    nodes: Integers,
    length: int,
    return_parameter: float,
    in_out_parameter: float,
    generator: np.random.Generator,
) -> Integers:
    """One second-order walk from each of the given nodes; (len(nodes), length). The first step is uniform.

    From t to v, the walk goes on to a neighbour x of v with a weight of 1/p for x = t, 1 for a neighbour x
    of t, 1/q for any other (p the return, q the in-out parameter).

    Every node must have a neighbour.
    """
    bias = _Bias(adjacency, return_parameter, in_out_parameter)
    walks = np.empty((len(nodes), length), np.int64)
    walks[:, :2] = uniform_walks(adjacency, nodes, min(2, length), generator)
    for step in range(2, length):
        walks[:, step] = _draw_biased(adjacency, walks[:, step - 2], walks[:, step - 1], bias, generator)
    return walks


def _draw_neighbors(adjacency: sp.csr_array, nodes: Integers, generator: np.random.Generator) -> Integers:
    """One neighbour of each node, each of them equally likely."""
    start, stop = (adjacency.indptr[nodes + ahead].astype(np.int64) for ahead in (0, 1))
    picks = (generator.random(len(nodes)) * (stop - start)).astype(np.int64)
    return np.asarray(adjacency.indices[start + picks], np.int64)


class _Bias:
    """The weight of a step from `before` over a neighbour to `after`."""

    def __init__(self, adjacency: sp.csr_array, return_parameter: float, in_out_parameter: float) -> None:
        self._num_nodes = int(adjacency.shape[0])
        self._edges = np.sort(self._key(*adjacency.nonzero()))
        self._back, self._away = 1 / return_parameter, 1 / in_out_parameter
        self.highest = max(self._back, 1.0, self._away)

    def weights(self, before: Integers, after: Integers) -> npt.NDArray[np.float64]:
        near = np.where(self._adjacent(before, after), 1.0, self._away)
        return np.where(before == after, self._back, near)

    def _adjacent(self, source: Integers, target: Integers) -> npt.NDArray[np.bool_]:
        keys = self._key(source, target)
        places = np.minimum(np.searchsorted(self._edges, keys), len(self._edges) - 1)
        return np.equal(self._edges[places], keys)

    def _key(self, source: npt.NDArray[np.integer], target: npt.NDArray[np.integer]) -> Integers:
        """One number a pair of nodes, so that a search in the sorted edges finds both at once."""
        return source.astype(np.int64) * self._num_nodes + target


def _draw_biased(
    adjacency: sp.csr_array, before: Integers, current: Integers, bias: _Bias, generator: np.random.Generator
) -> Integers:
    """One neighbour of each current node: uniform proposals, accepted in proportion to their weight."""
    chosen = np.empty_like(current)
    pending = np.arange(len(current))
    while len(pending):
        proposed = _draw_neighbors(adjacency, current[pending], generator)
        weights = bias.weights(before[pending], proposed)
        accepted = bias.highest * generator.random(len(pending)) < weights
        chosen[pending[accepted]] = proposed[accepted]
        pending = pending[~accepted]
    return chosen
