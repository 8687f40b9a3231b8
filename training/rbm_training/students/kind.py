"""What a kind of student says of itself; nothing outside its own file or folder asks which kind it is.

Dimension letters: P position width, D layer input, H layer output, E experts, K experts per row, C classes, L
layers.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from rbm_training.config import RoutingConfig, StudentConfig
from rbm_training.config.registry import STUDENTS
from rbm_training.data.scaling import InputScaling
from rbm_training.data.sparse_rows import Rows
from rbm_training.onnx.builder import GraphBuilder
from rbm_training.onnx.inputs import LayerInput
from rbm_training.onnx.layers import Form, LayerOutput, add_layer
from rbm_training.onnx.router import Router
from rbm_training.students.complexity import Costs, linear_costs
from rbm_training.students.expert_layer import ExpertLayer
from rbm_training.students.folding import fold_layer
from rbm_training.students.memory import Memory
from rbm_training.students.student import Student


@dataclass(frozen=True, slots=True)
class LayerPlace:
    """Where a layer of several experts stands in its student.

    `num_features` is F in the first layer, whose input is features and then positions, and None in others.
    """

    in_width: int
    out_width: int
    num_experts: int
    top_k: int
    dropout: float
    num_features: int | None

    @property
    def position_width(self) -> int:
        """P of the first layer, 0 of others."""
        return 0 if self.num_features is None else self.in_width - self.num_features


class StudentKind(ABC):
    """A kind of student: its layers, how they start to route, what they cost, and how they become a graph.

    What is given here holds for layers of linear experts without a memory; a layer of one expert is a plain
    linear one whatever the kind.
    """

    is_distilled: ClassVar[bool] = True
    """Whether a teacher is learnt from; else the student is logistic regression on the labels."""

    @abstractmethod
    def summary(self, student: Mapping[str, Any]) -> str:
        """The kind in a few words, for the model card.

        Args:
            student: the experiment's table of that name.
        """

    def widths(
        self, num_inputs: int, num_classes: int, shape: StudentConfig, position_width: int = 0
    ) -> list[int]:
        """The widths [D, H, …, C] of the layers, the last `position_width` of whose inputs are positions."""
        return [num_inputs, *[shape.hidden] * (shape.num_layers - 1), num_classes]

    def resolved(
        self, num_inputs: int, num_classes: int, shape: StudentConfig, position_width: int = 0
    ) -> StudentConfig:
        """Return the student that a description comes to on data of this size, for runs to be told apart:
        students of one are trained alike."""
        return shape

    def experts_by_layer(self, num_layers: int, shape: StudentConfig) -> tuple[int, ...]:
        """E of each layer."""
        return shape.experts_by_layer(num_layers)

    def mixture(self, place: LayerPlace, shape: StudentConfig) -> ExpertLayer:
        """Make a layer of several experts, with random weights from torch's generator."""
        raise NotImplementedError(f"{type(self).__name__} has no layer of several experts")

    def mixture_costs(self, place: LayerPlace, shape: StudentConfig) -> Costs:
        """Return what a layer of several experts costs."""
        raise NotImplementedError(f"{type(self).__name__} has no layer of several experts")

    def places(self, widths: list[int], shape: StudentConfig, position_width: int) -> list[LayerPlace]:
        """Where the layers stand in a student of the given widths [D, H, …, C]."""
        sizes = zip(itertools.pairwise(widths), self.experts_by_layer(len(widths) - 1, shape), strict=True)
        return [
            LayerPlace(
                in_width=D,
                out_width=H,
                num_experts=E,
                top_k=min(shape.top_k, E),
                dropout=shape.dropout if index or shape.input_dropout else 0.0,
                num_features=None if index else D - position_width,
            )
            for index, ((D, H), E) in enumerate(sizes)
        ]

    def costs(
        self,
        widths: list[int],
        shape: StudentConfig,
        position_width: int = 0,
        num_nonzero: float | None = None,
    ) -> Costs:
        """Return what a student with layers of the given widths [D, H, …, C] costs.

        Args:
            position_width: P, the last columns of the input.
            num_nonzero: how many of a row's features are not zero on average; None for dense ones. A first
                layer that reads those alone computes what one of so many features does.
        """
        costs = self.layer_costs(widths, shape, position_width)
        if num_nonzero is None:
            return costs
        read = [round(num_nonzero) + position_width, *widths[1:]]
        sparse = self.layer_costs(read, shape, position_width)
        return replace(costs, sparse_flops_per_node=sparse.flops_per_node)

    def layer_costs(self, widths: list[int], shape: StudentConfig, position_width: int) -> Costs:
        """Return what all layers cost together, every column of a row read."""
        layers = [
            self.mixture_costs(place, shape)
            if place.num_experts > 1
            else linear_costs(place.in_width, place.out_width)
            for place in self.places(widths, shape, position_width)
        ]
        return sum(layers, Costs(0, 0))

    def num_members(self, shape: StudentConfig) -> int | None:
        """How many students are trained, to be joined into one; None for one that stands alone."""
        return None

    def join(self, members: list[Student]) -> Student:
        """Make one student of the trained members."""
        raise NotImplementedError(f"{type(self).__name__} has no members")

    def restored(self, scaling: InputScaling, widths: list[int], shape: StudentConfig) -> Student:
        """A student to read saved weights into: with members, one such as `join` makes.

        Args:
            widths: [D, H, …, C] of the saved layers.
        """
        return build_student(scaling, widths, shape)

    @torch.no_grad()
    def start_routing(
        self, student: Student, scaled: Rows, config: RoutingConfig, seed: int, batch_rows: int
    ) -> None:
        """Make every expert a clone of its layer's first one, and route from now on.

        Args:
            scaled: inputs (N, F + P) of the first layer, for what routing is laid out by.
            batch_rows: rows that a layer is given at a time.
        """
        for layer in student.expert_layers():
            if layer.num_experts > 1:
                layer.upcycle(config.clone_noise)

    def new_memory(self, student: Student, config: RoutingConfig) -> Memory:
        """Return what moves the memories of a student while it learns."""
        return Memory()

    def router(self, layer: ExpertLayer) -> Router:
        """Return how a graph chooses the experts of a layer of several."""
        raise NotImplementedError(f"{type(self).__name__} has no layer of several experts")

    def add_layer(self, graph: GraphBuilder, x: LayerInput, layer: ExpertLayer, form: Form) -> LayerOutput:
        """Add a layer to a graph of one of the two forms."""
        router = self.router(layer) if layer.num_experts > 1 else None
        return add_layer(graph, x, fold_layer(layer, router), form)

    def router_width(self, student: Student) -> int | None:
        """R, what a learnt router projects a row to, for the manifest; None where there is none."""
        return None


def student_kind(name: str) -> StudentKind:
    """The kind of a name that an experiment or a student gives."""
    kind: StudentKind = STUDENTS[name]
    return kind


def build_student(scaling: InputScaling, widths: list[int], shape: StudentConfig) -> Student:
    """A student of the kind in `shape`, or a member of one, with layers of the given widths [D, H, …, C].

    Its experts may differ from layer to layer; where there is one, the layer is a plain linear one.
    """
    kind, position_width = student_kind(shape.kind), widths[0] - scaling.mean.numel()
    layers = [
        kind.mixture(place, shape)
        if place.num_experts > 1
        else ExpertLayer(place.in_width, place.out_width, dropout=place.dropout)
        for place in kind.places(widths, shape, position_width)
    ]
    return Student(scaling, layers, shape.kind)
