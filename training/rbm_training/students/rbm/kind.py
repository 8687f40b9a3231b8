"""The RbM student, as the rest of training knows it.

Dimension letters: D layer input, R columns that are compared with memories, E experts, K experts per row.
"""

from collections.abc import Mapping
from typing import Any, Final

from rbm_training.config import RoutingConfig, StudentConfig
from rbm_training.data.sparse_rows import Rows
from rbm_training.onnx.router import Router
from rbm_training.students.complexity import Costs, mixture_costs
from rbm_training.students.expert_layer import ExpertLayer
from rbm_training.students.kind import LayerPlace, StudentKind
from rbm_training.students.memory import Memory
from rbm_training.students.rbm.layer import FollowingLayer, RbMLayer, RoutingInput
from rbm_training.students.rbm.memory_ema import MemoryAverager
from rbm_training.students.rbm.router import memory_router
from rbm_training.students.rbm.routing_init import start_routing
from rbm_training.students.student import Student


class RbMKind(StudentKind):
    """Experts routed by a memory (`rbm.layer`), which a moving average moves (`rbm.memory_ema`)."""

    def summary(self, student: Mapping[str, Any]) -> str:
        """For the model card."""
        return "a mixture of experts routed by memory"

    def mixture(self, place: LayerPlace, shape: StudentConfig) -> ExpertLayer:
        """A layer that a memory routes, the first one by the part of its input that the experiment says, or
        one that follows the first."""
        experts = place.in_width, place.out_width, place.num_experts, place.top_k, place.dropout
        if _follows(place, shape):
            return FollowingLayer(*experts, shape.input_gains, expert_dropout=shape.expert_dropout)
        return RbMLayer(
            *experts,
            shape.input_gains,
            metric=shape.metric,
            routing_temperature=shape.routing_temperature,
            routing_input=_routing_input(place, shape),
            num_features=place.num_features,
            projection_width=shape.routing_projection,
            center_queries=shape.center_queries,
            expert_dropout=shape.expert_dropout,
        )

    def mixture_costs(self, place: LayerPlace, shape: StudentConfig) -> Costs:
        """The K chosen experts and their gains, and a comparison of what decides with every memory."""
        D, E, K = place.in_width, place.num_experts, place.top_k
        R, gains = _columns_compared(place, shape), D * shape.input_gains
        centers = R * shape.center_queries
        router = Costs(E * R + E * gains + centers, 3 * R + 2 * E * R + K * gains + centers)
        if _routing_input(place, shape) == "projection":
            router += Costs(D * R, 2 * D * R)
        return mixture_costs(D, place.out_width, E, K, router)

    def start_routing(
        self, student: Student, scaled: Rows, config: RoutingConfig, seed: int, batch_rows: int
    ) -> None:
        """Lay memories out among the inputs of their layers, and clone the experts."""
        start_routing(student, scaled, config, seed, batch_rows)

    def new_memory(self, student: Student, config: RoutingConfig) -> Memory:
        """The moving average of each layer's memory."""
        return MemoryAverager(student, config)

    def router(self, layer: ExpertLayer) -> Router:
        """Cosines with memories or distances to them."""
        assert isinstance(layer, RbMLayer), "a layer of several experts has a memory"
        return memory_router(layer)


RBM: Final = RbMKind()


def _follows(place: LayerPlace, shape: StudentConfig) -> bool:
    """Whether a layer has no router: with shared routing all but the first one."""
    return shape.shared_routing and place.num_features is None


def _routing_input(place: LayerPlace, shape: StudentConfig) -> RoutingInput:
    """What decides: in layers but the first, all of the input."""
    return "all" if place.num_features is None else shape.routing_input


def _columns_compared(place: LayerPlace, shape: StudentConfig) -> int:
    """R, none in a layer that follows."""
    if _follows(place, shape):
        return 0
    widths = {
        "all": place.in_width,
        "features": place.in_width - place.position_width,
        "positions": place.position_width,
        "projection": shape.routing_projection,
    }
    return widths[_routing_input(place, shape)]
