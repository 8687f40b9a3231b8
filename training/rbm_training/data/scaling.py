"""Input scaling, block by block: the choice that moves accuracy most (docs/method.md, "Input scale").

Dimension letters: B batch, F features, P position width.
"""

import torch
from torch import Tensor, nn

from rbm_bundle.manifest_parts import FeatureScaling
from rbm_training.data.sparse_rows import Rows, beside, unit_rows

CONSTANT_SHARE = 1e-6


class InputScaling(nn.Module):
    """Scale features and positions and put them side by side.

    `standardised` is for dense features and needs `fit` once, on observed nodes. Positions get rows of one
    norm, unless it is None.

    Shapes: features (B, F), dense or sparse, positions (B, P) → (B, F + P).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, num_features: int, features: FeatureScaling, position_norm: float | None) -> None:
        super().__init__()
        self.features = features
        self.position_norm = position_norm
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("deviation", torch.ones(num_features))

    @torch.no_grad()
    def fit(self, features: Tensor) -> "InputScaling":
        """Take mean and deviation from observed features (N, F); constant columns keep deviation 1.

        A column counts as constant when its deviation is below a millionth of its largest value: that much
        is the rounding of float32.
        """
        exact = features.double()
        deviation = exact.std(dim=0, correction=0)
        varies = deviation > CONSTANT_SHARE * exact.abs().amax(dim=0)
        self.mean.copy_(exact.mean(dim=0))
        self.deviation.copy_(torch.where(varies, deviation, torch.ones_like(deviation)))
        return self

    def scale_features(self, features: Rows) -> Rows:
        """The features alone, scaled, (B, F)."""
        if self.features == "l2":
            return unit_rows(features)
        if self.features == "standardised":
            assert isinstance(features, Tensor), "sparse features are never standardised"
            return (features - self.mean) / self.deviation
        return features

    def forward(self, features: Rows, positions: Tensor) -> Rows:
        """Both blocks, scaled and side by side, (B, F + P)."""
        if self.position_norm is not None:
            positions = self.position_norm * unit_rows(positions)
        return beside(self.scale_features(features), positions)
