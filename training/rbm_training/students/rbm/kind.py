"""The RbM student, as the rest of training knows it.

Dimension letters: D layer input, R columns of it that the router reads, E experts, K experts per row.
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
from rbm_training.students.rbm.layer import RbMLayer
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
        """A layer that a memory routes, the first one by the part of its input that the experiment says."""
        return RbMLayer(
            place.in_width,
            place.out_width,
            place.num_experts,
            place.top_k,
            place.dropout,
            shape.input_gains,
            metric=shape.metric,
            routing_temperature=shape.routing_temperature,
            routing_input="all" if place.num_features is None else shape.routing_input,
            num_features=place.num_features,
            center_queries=shape.center_queries,
            expert_dropout=shape.expert_dropout,
        )

    def mixture_costs(self, place: LayerPlace, shape: StudentConfig) -> Costs:
        """The K chosen experts and their gains, and a comparison of what decides with every memory."""
        D, E, K = place.in_width, place.num_experts, place.top_k
        R, gains = _columns_read(place, shape), D * shape.input_gains
        centers = R * shape.center_queries
        router = Costs(E * R + E * gains + centers, 3 * R + 2 * E * R + K * gains + centers)
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


def _columns_read(place: LayerPlace, shape: StudentConfig) -> int:
    """R: all columns of a deeper layer, of the first one those that it is routed by."""
    if place.num_features is None or shape.routing_input == "all":
        return place.in_width
    return place.num_features if shape.routing_input == "features" else place.position_width
