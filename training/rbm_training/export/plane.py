"""The plane in which rows spread the most.

Dimension letters: R rows, D width of a row.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.extmath import randomized_svd

from rbm_training.data.sparse_rows import Matrix

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane through the mean of some rows, center (D,), along two axes (2, D)."""

    center: Array
    axes: Array

    def project(self, rows: Matrix) -> Array:
        """Where rows (R, D) lie in it, (R, 2)."""
        return np.asarray(_centered(rows, self.center) @ self.axes.T)


def principal_plane(rows: Matrix) -> Plane:
    """The plane along the first two principal components of rows (R, D); an axis that there is not is zero.

    The same rows give the same plane.
    """
    center = np.asarray(rows.mean(axis=0)).ravel()
    _, _, components = randomized_svd(_centered(rows, center), 2, n_iter=5, random_state=0)
    axes = np.zeros((2, len(center)), components.dtype)
    axes[: len(components)] = components
    return Plane(center, axes)


def _centered(rows: Matrix, center: Array) -> Array:
    dense = rows if isinstance(rows, np.ndarray) else rows.toarray()
    return np.asarray(dense - center)
