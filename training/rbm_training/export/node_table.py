"""The known nodes as a bundle's node table: sorted ids, positions, cached features."""

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from rbm_bundle.features import CsrFeatures
from rbm_bundle.nodes import NodeTable
from rbm_training.data.graph import Features, Floats, Graph, Integers


def build_node_table(known: Graph, positions: Floats, cache_features: bool) -> NodeTable:
    """Table of the nodes of a graph, their features in the form they have.

    Shapes: positions (N, P), in the order of the graph's nodes.
    """
    ids, order = _stored_ids(known.node_ids), table_order(known)
    is_range = ids.dtype.kind == "i" and np.array_equal(ids[order], np.arange(len(ids)))
    return NodeTable(
        ids=None if is_range else ids[order],
        positions=np.ascontiguousarray(positions[order], np.float32),
        features=_cached(known.features[order]) if cache_features else None,
    )


def table_order(graph: Graph) -> Integers:
    """The nodes of a graph (N,) in the order of their table: row i is of the i-th of them."""
    return np.argsort(_stored_ids(graph.node_ids), kind="stable")


def _stored_ids(ids: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.char.encode(ids, "utf-8") if ids.dtype.kind == "U" else ids.astype(np.int64)


def _cached(features: Features) -> Floats | CsrFeatures:
    return features if isinstance(features, np.ndarray) else csr_features(features)


def csr_features(features: sp.csr_array) -> CsrFeatures:
    """A scipy matrix (N, F) as a bundle keeps it."""
    return CsrFeatures(
        features.indptr.astype(np.int64),
        features.indices.astype(np.int64),
        features.data.astype(np.float32),
        features.shape[1],
    )
