"""What is trained to do without the graph."""

from typing import Annotated

from pydantic import Field, model_validator

from rbm_training.config.part import Count, Part, Probability, Weight


class StudentConfig(Part):
    """The RbM student: L layers of E linear experts, K of which see a row."""

    num_layers: Count = 2
    """L, routed layers."""
    hidden: Count = 128
    """Width of the hidden layers."""
    num_experts: Count = 4
    """E, experts of each layer."""
    experts_per_row: Count = 2
    """K, experts that a row is sent to."""
    dropout: Probability = 0.3
    """Before every layer, the input included."""
    input_gains: bool = False
    """Learn a gain per expert and input column."""

    @model_validator(mode="after")
    def _enough_experts(self) -> "StudentConfig":
        if self.experts_per_row > self.num_experts:
            raise ValueError(
                f"student.experts_per_row = {self.experts_per_row} exceeds num_experts = {self.num_experts}"
            )
        return self


class RoutingConfig(Part):
    """What shapes the routing memory."""

    commitment: Weight = 0.05
    """Weight of the pull of inputs towards the memories they are routed to."""
    self_similarity: Weight = 0.01
    """Size of the push of memories away from each other, once a step."""
    load_balance: Weight = 0.01
    """Weight of the squared variation of the load over experts."""
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.9
    """γ, the part of the old memory that a step keeps; 1 freezes the memory."""
    revive_after: Count = 10
    """Steps without a single row after which an expert is moved to the worst-served input."""
