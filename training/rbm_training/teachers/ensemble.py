"""Networks that answer together. Dimension letters: N nodes, H hidden, C classes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rbm_training.evaluation.early_stopping import EpochMetrics
from rbm_training.teachers.inputs import GraphInputs
from rbm_training.teachers.networks import GraphNetwork, NetworkOutput


@dataclass(frozen=True, slots=True)
class Member:
    """A trained network at its best epoch.

    `described` is the part of the experiment that says what it is; `num_epochs` is how long it was trained,
    the wait for a better epoch included.
    """

    network: GraphNetwork
    described: Mapping[str, Any]
    best: EpochMetrics
    num_epochs: int


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Trained networks whose answer is the mean of their probabilities; one alone answers for itself."""

    members: tuple[GraphNetwork, ...]

    @torch.no_grad()
    def predict(self, inputs: GraphInputs, noise: Tensor | None = None) -> NetworkOutput:
        """Logarithms of the mean probabilities, and the members' representations side by side.

        Args:
            noise: noise on the features times `first_weight`, (N, sum of H).
        """
        outputs = [
            member.eval()(inputs, part) for member, part in zip(self.members, self._share(noise), strict=True)
        ]
        log_probabilities = torch.stack([output.logits.log_softmax(dim=1) for output in outputs])
        logits = log_probabilities.logsumexp(dim=0) - math.log(len(outputs))
        known = [output.representations for output in outputs if output.representations is not None]
        return NetworkOutput(logits, torch.cat(known, dim=1) if known else None)

    def first_weight(self) -> Tensor:
        """The members' first weights, (sum of H, F)."""
        return torch.cat([member.first_weight for member in self.members])

    def _share(self, noise: Tensor | None) -> list[Tensor | None]:
        if noise is None:
            return [None] * len(self.members)
        return [*noise.split([len(member.first_weight) for member in self.members], dim=1)]
