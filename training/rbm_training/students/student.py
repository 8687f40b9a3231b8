"""The student: scaled features and positions through layers of experts.

Dimension letters: B batch, F features, P position width, D layer input, H layer output, C classes, L layers.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rbm_training.data.scaling import InputScaling
from rbm_training.data.sparse_rows import Rows
from rbm_training.students.expert_layer import ExpertLayer
from rbm_training.students.routing import LayerRouting


@dataclass(frozen=True, slots=True)
class StudentOutput:
    """Logits (B, C), what the first layer put out (B, H), and the routing of each layer that routes: of the
    layers of several experts only once routing has started, and of those that follow the first one never."""

    logits: Tensor
    representation: Tensor
    layers: tuple[LayerRouting, ...]


class Student(nn.Module):
    """L layers of experts with ReLU between them.

    `kind` is the name of what describes it, see `students.kind`. `temperature` calibrates the probabilities,
    softmax(logits / temperature); it is fitted on validation.

    Shapes: features (B, F), dense or sparse, positions (B, P) → logits (B, C).
    """

    temperature: Tensor

    def __init__(self, scaling: InputScaling, layers: list[ExpertLayer], kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.scaling = scaling
        self.layers = nn.ModuleList(layers)
        self.register_buffer("temperature", torch.ones(()))

    def expert_layers(self) -> list[ExpertLayer]:
        """The layers, typed."""
        return [layer for layer in self.layers if isinstance(layer, ExpertLayer)]

    def memory_layers(self) -> list[ExpertLayer]:
        """The layers that a memory routes."""
        return [layer for layer in self.expert_layers() if layer.has_memory]

    def routing_layers(self) -> list[ExpertLayer]:
        """The layers that choose among their experts, or have but one."""
        return [layer for layer in self.expert_layers() if not layer.follows]

    def following_layers(self) -> list[ExpertLayer]:
        """The layers in which a row stays with the experts of the first one."""
        return [layer for layer in self.expert_layers() if layer.follows]

    @property
    def layer_widths(self) -> list[int]:
        """[D, H, …, C]."""
        layers = self.expert_layers()
        return [layers[0].weight.shape[1], *(layer.weight.shape[2] for layer in layers)]

    @property
    def num_experts(self) -> list[int]:
        """E of each layer that chooses among its experts, or has but one."""
        return [layer.num_experts for layer in self.routing_layers()]

    @property
    def num_features(self) -> int:
        """F."""
        return self.scaling.mean.numel()

    @property
    def position_width(self) -> int:
        """P."""
        return self.expert_layers()[0].weight.shape[1] - self.num_features

    @property
    def device(self) -> torch.device:
        """Where the student is."""
        return self.temperature.device

    def forward(self, features: Rows, positions: Tensor) -> StudentOutput:
        """Classify a batch from features and positions alone."""
        return self.classify(self.scaling(features, positions))

    def classify(self, inputs: Rows) -> StudentOutput:
        """Classify inputs (B, F + P) that are scaled already."""
        outputs: list[Tensor] = []
        records: list[LayerRouting] = []
        for layer in self.expert_layers():
            x = outputs[-1].relu() if outputs else inputs
            is_led = layer.follows and bool(records)
            output, routing = layer(x, records[0]) if is_led else layer(x)
            outputs.append(output)
            if routing is not None and not is_led:
                records.append(routing)
        return StudentOutput(outputs[-1], outputs[0], tuple(records))

    def on_cpu(self) -> "Student":
        """A copy on the CPU, ready to be exported; the student itself stays where it is, and the scaling that
        it shares with others too."""
        return copy.deepcopy(self).cpu().eval()

    def num_parameters(self) -> int:
        """Parameters, and entries of buffers that routers read."""
        buffered = sum(layer.num_router_entries for layer in self.expert_layers())
        return sum(parameter.numel() for parameter in self.parameters()) + buffered
