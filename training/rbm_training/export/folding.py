"""A student's layers as a graph wants them: scale and gains multiplied in, constants worked out in float64.

Dimension letters: D layer input, H layer output, E experts.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rbm_training.data.sparse_rows import unit_rows
from rbm_training.export.inputs import Floats
from rbm_training.export.routers import CosineRouter, DistanceRouter, LearntRouter, Router
from rbm_training.students.expert_layer import ExpertLayer
from rbm_training.students.moe import MoELayer
from rbm_training.students.rbm.layer import RbMLayer
from rbm_training.students.student import Student


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """A layer ready for inference; one without a router is its only expert.

    Shapes: weight (E, D, H), bias (E, H).
    """

    weight: Floats
    bias: Floats
    router: Router | None

    @property
    def top_k(self) -> int:
        """K of this layer."""
        return 1 if self.router is None else self.router.top_k


@torch.no_grad()
def fold_layers(student: Student) -> list[LayerWeights]:
    """Each layer's weights with exp(ϑ) and exp(A) multiplied in, and its router."""
    folded = []
    for layer in student.expert_layers():
        scale = layer.scale().double()
        folded.append(
            LayerWeights(
                weight=float32_array(scale * layer.effective_weight().double()),
                bias=float32_array(scale * layer.bias.double()),
                router=_router(layer),
            )
        )
    return folded


def float32_array(values: Tensor) -> npt.NDArray[np.float32]:
    """A tensor of any device and precision as a float32 array."""
    return values.detach().cpu().numpy().astype(np.float32)


def _router(layer: ExpertLayer) -> Router | None:
    if isinstance(layer, MoELayer):
        return _learnt(layer)
    if isinstance(layer, RbMLayer):
        return _cosines(layer) if layer.metric == "cosine" else _distances(layer)
    return None


def _cosines(layer: RbMLayer) -> CosineRouter:
    return CosineRouter(
        matrix=float32_array(_read(layer, layer.memory).T),
        bias=np.zeros(layer.num_experts, np.float32),
        top_k=layer.top_k,
        inverse_temperature=1 / layer.routing_temperature,
        reads=layer.routing_input,
    )


def _distances(layer: RbMLayer) -> DistanceRouter:
    memory, spread = layer.memory.double(), float(layer.spread)
    center = memory.mean(dim=0, keepdim=True)  # (1, D)
    columns = torch.cat([memory - center, center])  # (E+1, D)
    half_norms = memory.pow(2).sum(dim=1) / 2
    half_center = center.pow(2).sum(dim=1) / 2
    bias = torch.cat([half_center - half_norms, -half_center])
    return DistanceRouter(
        matrix=float32_array(_read(layer, columns).T / spread),
        bias=float32_array(bias / spread),
        top_k=layer.top_k,
        inverse_temperature=1 / layer.routing_temperature,
        reads=layer.routing_input,
        spread=spread,
    )


def _read(layer: RbMLayer, columns: Tensor) -> Tensor:
    """Rows (·, D) with zeros where the router does not read the layer's input."""
    read = columns.clone()
    if layer.routing_input == "features":
        read[:, layer.num_features :] = 0
    elif layer.routing_input == "positions":
        read[:, : layer.num_features] = 0
    return read


def _learnt(layer: MoELayer) -> LearntRouter:
    return LearntRouter(
        matrix=float32_array(layer.projection),
        bias=float32_array(layer.projection_bias),
        top_k=layer.top_k,
        inverse_temperature=float(layer.inverse_temperature()),
        prototypes=float32_array(unit_rows(layer.prototypes.double()).T),
        over_all=layer.router_top_k == "k_plus_1",
    )
