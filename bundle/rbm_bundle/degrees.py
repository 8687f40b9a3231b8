"""What stands for the features of nodes that have none: how many neighbours each has."""

from typing import Final

import numpy as np

from rbm_bundle.features import Floats, Integers

DEGREE_FEATURES: Final = ("1", "log(1 + degree)")
"""Their names, by which a bundle says that they can be made of neighbours."""


def degree_features(degrees: Integers) -> Floats:
    """A one and log(1 + degree) of each node, (N,) → (N, 2).

    Rows that are scaled to norm 1 still tell degrees apart, which with one column alone they would not.
    """
    return np.stack([np.ones(len(degrees)), np.log1p(degrees)], axis=1).astype(np.float32)
