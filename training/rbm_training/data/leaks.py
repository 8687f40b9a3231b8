"""Columns that say the label. Dimension letters: N nodes, F features."""

from typing import Final

import numpy as np
import scipy.sparse as sp

from rbm_training.data.graph import UNLABELLED, Features, Integers

LEAST_LABELS: Final = 10  # on either side; of fewer, a rare word may do the same by chance


def columns_of_the_label(features: Features, labels: Integers) -> Integers:
    """The columns of features (N, F) that have one value for all nodes of a class, and not the same for all
    classes, as the label (N,) itself has, and a mark of one class: 10 labels at least have the largest value,
    and 10 another."""
    nodes = np.flatnonzero(labels != UNLABELLED)
    nodes = nodes[np.argsort(labels[nodes], kind="stable")]
    sizes = np.unique_counts(labels[nodes]).counts
    columns, starts = np.arange(features.shape[1]), np.cumsum(sizes) - sizes
    for start, size in zip(starts, sizes, strict=True):
        least, most = _extremes(features[nodes[start : start + size]][:, columns])
        columns = columns[least == most]
    values = features[nodes[starts]][:, columns]
    values = values.toarray() if isinstance(values, sp.csr_array) else values
    num_largest = sizes @ (values == values.max(axis=0, initial=-np.inf))
    found: Integers = columns[np.minimum(num_largest, sizes.sum() - num_largest) >= LEAST_LABELS]
    return found


def _extremes(rows: Features) -> tuple[Features, Features]:
    """Smallest and largest value of each column (F,)."""
    if isinstance(rows, np.ndarray):
        return rows.min(axis=0), rows.max(axis=0)
    return rows.min(axis=0).toarray().ravel(), rows.max(axis=0).toarray().ravel()
