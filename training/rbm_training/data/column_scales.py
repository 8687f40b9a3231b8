"""Columns so large that rows of norm 1 say nothing of the others.

Dimension letters: N nodes, F features.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from rbm_training.data.graph import Features, Integers

MUCH_LARGER: Final = 30.0  # than the median column, in root mean square
MOST_OF_A_ROW: Final = 0.5

Squares = npt.NDArray[np.float64]


def drowning_columns(features: Features) -> Integers:
    """The columns of features (N, F) that are 30 times as large as the median one and, on average, most of a
    row's squared norm, the largest first; none where they are less, as frequent words are.

    Columns of zeros are left out of the median.
    """
    rows, columns = _squares(features)
    scales = np.sqrt(columns)
    median = np.median(scales[scales > 0]) if scales.any() else 0.0
    large = np.flatnonzero(scales > MUCH_LARGER * median)
    of_large, _ = _squares(features[:, large])
    shares = np.divide(of_large, rows, out=np.zeros(len(rows)), where=rows > 0)
    if shares.mean() < MOST_OF_A_ROW:
        return large[:0]
    return large[np.argsort(-scales[large], kind="stable")]


def _squares(features: Features) -> tuple[Squares, Squares]:
    """Sum of squares of each row (N,) and of each column (F,)."""
    if isinstance(features, np.ndarray):
        rows, columns = (
            np.einsum(f"ij,ij->{kept}", features, features, dtype=np.float64) for kept in ("i", "j")
        )
        return rows, columns
    squares = features.astype(np.float64).power(2)
    return np.asarray(squares.sum(axis=1), np.float64), np.asarray(squares.sum(axis=0), np.float64)
