"""Reliable pairs: which neighbours' teacher answers a node also learns from.

Wu et al., "Quantifying the Knowledge in GNNs for Reliable Distillation into MLPs" (KRD), ICML 2023.
A node is reliable when noise on its input hardly moves the entropy of the teacher's answer.
Dimension letters: N nodes, M directed edges.
"""

from typing import Literal

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from rbm_bundle.manifest_parts import Setting

NUM_BINS = 50
MIN_EXPONENT, MAX_EXPONENT = 0.05, 20.0
MAX_MEAN_DEGREE = 10.0  # above which pairs were measured to harm
MIN_HOMOPHILY = 0.5  # below which a neighbour's answer mostly is another one


class ReliablePairSampler:
    """Draws pairs (i, j) over edges i–j, keeping each with the reliability of the teacher's node j.

    p_j = 1 − δ_j^α with δ_j = ρ_j / max ρ, the entropy shift of j relative to the largest; α follows how
    often student and teacher agree at each δ.

    Shapes: edge_index (2, M), entropy_shift (N,) ≥ 0.
    """

    def __init__(self, edge_index: Tensor, entropy_shift: Tensor, momentum: float = 0.99) -> None:
        self.edge_index = edge_index
        self.relative_shift = entropy_shift / entropy_shift.max().clamp_min(1e-12)
        self.momentum = momentum
        self.exponent = 1.0

    def probabilities(self) -> Tensor:
        """p (N,): 1 for a node that noise does not move, 0 for the one it moves most."""
        return (1 - self.relative_shift**self.exponent).clamp(0, 1)

    def draw(self) -> Tensor:
        """A fresh sample of pairs (2, at most M), from torch's generator."""
        kept = torch.bernoulli(self.probabilities()[self.edge_index[1]]).bool()
        return self.edge_index[:, kept]

    def refit(self, agree: Tensor) -> None:
        """Move α towards the best fit of 1 − x^α to the share of agreement, by δ.

        Args:
            agree: (N,) whether student and teacher give a node the same class.
        """
        fitted = _fit_exponent(self.relative_shift.cpu().numpy(), agree.cpu().numpy())
        if fitted is not None:
            self.exponent = self.momentum * self.exponent + (1 - self.momentum) * fitted


def pair_sampler(
    pairs: Literal["auto", "reliable", "self"],
    edge_index: Tensor,
    entropy_shift: Tensor | None,
    promising: bool,
) -> ReliablePairSampler | None:
    """The sampler asked for: none with `self`, and with `auto` none where pairs are not promising or the
    teacher cannot be asked how noise moves it."""
    if entropy_shift is None or pairs == "self":
        return None
    wanted = pairs == "reliable" or promising
    return ReliablePairSampler(edge_index, entropy_shift) if wanted else None


def pairs_are_promising(setting: Setting, edge_index: Tensor, labels: Tensor, labelled: Tensor) -> bool:
    """Whether reliable pairs are likely to help, by what was measured: nodes are known, the graph is sparse,
    and linked nodes mostly are of one class, as far as labels are known.

    Shapes: edge_index (2, M), labels (N,), labelled (N,) which of them may be looked at.
    """
    num_edges = edge_index.shape[1]
    is_sparse = 0 < num_edges <= MAX_MEAN_DEGREE * len(labels)
    if setting != "transductive" or not is_sparse:
        return False
    left, right = edge_index[:, labelled[edge_index].all(dim=0)]
    return not len(left) or float((labels[left] == labels[right]).float().mean()) >= MIN_HOMOPHILY


def _fit_exponent(relative_shift: np.ndarray, agree: np.ndarray) -> float | None:
    """Least squares over the filled bins, weighted by their counts; None when there is nothing to fit."""
    bins = np.minimum((relative_shift * NUM_BINS).astype(int), NUM_BINS - 1)
    counts = np.bincount(bins, minlength=NUM_BINS)
    filled = counts > 0
    share = np.bincount(bins, weights=agree, minlength=NUM_BINS)[filled] / counts[filled]
    if filled.sum() < 2 or share.max() == share.min():
        return None
    share = (share - share.min()) / (share.max() - share.min())
    centers = ((np.arange(NUM_BINS) + 0.5) / NUM_BINS)[filled]

    def error(exponent: float) -> float:
        return float((counts[filled] * (1 - centers**exponent - share) ** 2).sum())

    return float(minimize_scalar(error, bounds=(MIN_EXPONENT, MAX_EXPONENT), method="bounded").x)
