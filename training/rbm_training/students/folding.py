"""A layer as a graph wants it: scale and gains multiplied in, constants worked out in float64."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rbm_training.onnx.layers import LayerWeights
from rbm_training.onnx.router import Router
from rbm_training.students.expert_layer import ExpertLayer


@torch.no_grad()
def fold_layer(layer: ExpertLayer, router: Router | None) -> LayerWeights:
    """A layer's weights with exp(ϑ) and exp(A) multiplied in, beside its router."""
    scale = layer.scale().double()
    return LayerWeights(
        weight=float32_array(scale * layer.effective_weight().double()),
        bias=float32_array(scale * layer.bias.double()),
        router=router,
    )


def float32_array(values: Tensor) -> npt.NDArray[np.float32]:
    """A tensor of any device and precision as a float32 array."""
    return values.detach().cpu().numpy().astype(np.float32)
