"""The observed nodes as a bundle's node table: sorted ids, positions, cached features."""

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from rbm_bundle.features import CsrFeatures
from rbm_bundle.nodes import NodeTable
from rbm_training.graph import Floats, Graph

SPARSE_SHARE = 1 / 8


def build_node_table(observed: Graph, positions: Floats, cache_features: bool) -> NodeTable:
    """Table of the observed nodes; features go in as CSR when at most an eighth of them is non-zero.

    Shapes: positions (N, P), in the order of the graph's nodes.
    """
    ids = _stored_ids(observed.node_ids)
    order = np.argsort(ids, kind="stable")
    is_range = ids.dtype.kind == "i" and np.array_equal(ids[order], np.arange(len(ids)))
    return NodeTable(
        ids=None if is_range else ids[order],
        positions=np.ascontiguousarray(positions[order], np.float32),
        features=_cached(observed.features[order]) if cache_features else None,
    )


def _stored_ids(ids: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.char.encode(ids, "utf-8") if ids.dtype.kind == "U" else ids.astype(np.int64)


def _cached(features: Floats | sp.csr_array) -> Floats | CsrFeatures:
    num_rows, num_features = features.shape
    sparse = sp.csr_array(features)
    if sparse.nnz > SPARSE_SHARE * num_rows * num_features:
        return np.ascontiguousarray(
            features if isinstance(features, np.ndarray) else features.toarray(), np.float32
        )
    sparse.sum_duplicates()
    return CsrFeatures(
        sparse.indptr.astype(np.int64),
        sparse.indices.astype(np.int64),
        sparse.data.astype(np.float32),
        num_features,
    )
