"""Small real objects that the training tests share."""

import tomllib

import numpy as np
import torch
from torch import nn

from rbm_training.__main__ import main
from rbm_training.config import ExperimentConfig, RoutingConfig, StudentConfig
from rbm_training.data.scaling import InputScaling
from rbm_training.data.sparse_rows import SparseRows, as_array
from rbm_training.distillation.trainer import StudentTrainer
from rbm_training.distillation.training_data import TrainingData
from rbm_training.students.kind import build_student
from rbm_training.students.moe import MoELayer
from rbm_training.students.rbm.layer import RbMLayer
from rbm_training.students.student import Student

CPU = torch.device("cpu")

SMALL_EXPERIMENT = """
name = "small"
num_threads = 1
[dataset]
kind = "synthetic"
setting = "inductive"
train_per_class = 8
val_per_class = 8
pseudo_unseen_fraction = 0.5
[teacher]
hidden = 16
max_epochs = 30
[positions]
width = 8
walk_length = 10
walks_per_node = 2
[student]
hidden = 16
moe_layers = "all"
[distill]
warmup_epochs = 5
max_epochs = 25
[report]
baselines = []
"""


SMALL_CONFIG = ExperimentConfig.model_validate(tomllib.loads(SMALL_EXPERIMENT))
NO_BALANCE = RoutingConfig(load_balance=0.0)  # the one term that is not linear in its rows


def routed_student(
    num_features: int = 6,
    position_width: int = 4,
    widths: tuple[int, ...] = (8, 3),
    num_experts: int | tuple[int, ...] = 4,
    top_k: int = 2,
    features: str = "l2",
    position_norm: float | None = 0.5,
    gains: bool = True,
    seed: int = 0,
    **shape,
) -> Student:
    """A student with random weights, memories or routers, scales and gains, in evaluation mode."""
    torch.manual_seed(seed)
    scaling = InputScaling(num_features, features, position_norm)
    scaling.fit(torch.randn(50, num_features) * 3 + 1)
    config = StudentConfig(
        num_layers=len(widths),
        hidden=widths[0],
        num_experts=num_experts,
        moe_layers="all",
        top_k=top_k,
        dropout=0.0,
        input_gains=gains,
        **shape,
    )
    student = build_student(scaling, [num_features + position_width, *widths], config)
    for layer in student.expert_layers():
        _start_at_random(layer)
    student.temperature.fill_(1.7)
    return student.eval()


def _start_at_random(layer) -> None:
    if isinstance(layer, RbMLayer):
        layer.start_routing(torch.randn_like(layer.memory))
    elif isinstance(layer, MoELayer):
        layer.upcycle()
        nn.init.normal_(layer.prototypes)
    elif layer.follows:
        layer.upcycle()
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    for logarithm in (layer.log_scale, layer.log_gain):
        if logarithm is not None:
            nn.init.normal_(logarithm, std=0.2)


def student_for(data: TrainingData, **shape) -> Student:
    """A routed student of two layers that fits a prepared task, on its device."""
    graph, P = data.task.graph, data.positions.shape[1]
    shape = {"gains": False, **shape}
    student = routed_student(graph.num_features, P, widths=(8, graph.num_classes), **shape)
    return student.to(data.inputs.labels.device)


def trainer_for(
    data: TrainingData,
    student: Student,
    routing=SMALL_CONFIG.routing,
    kind=StudentTrainer,
    **distill,
) -> StudentTrainer:
    """The training of a student, as the small experiment does it but for the changes given."""
    config = SMALL_CONFIG.distill.model_copy(update=distill)
    label_weight = config.label_weight(data.inputs.training_share)
    return kind(student, data.inputs, data.teacher, data.edge_index, config, routing, label_weight)


def settled(data: TrainingData, routing=SMALL_CONFIG.routing, batch_rows=None, **distill) -> StudentTrainer:
    """A student that routes already and has learnt for one epoch, and its training."""
    torch.manual_seed(5)
    trainer = trainer_for(data, student_for(data), routing, batch_rows=batch_rows, pairs="self", **distill)
    trainer.routing_started = True
    trainer.train_epoch()
    return trainer


def memories_of(trainer: StudentTrainer) -> list[torch.Tensor]:
    return [layer.memory for layer in trainer.student.memory_layers()]


def write_npz(path, **changes) -> None:
    """A small good graph of six nodes and four features; a change of None leaves the key out."""
    good = {
        "edge_index": np.array([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 0]]),
        "x": np.arange(24, dtype=np.float32).reshape(6, 4),
        "y": np.array([0, 1, 0, 1, -1, 1]),
    }
    np.savez(path, **{key: value for key, value in (good | changes).items() if value is not None})


def train(experiment, folder, *overrides):
    arguments = [word for override in overrides for word in ("--set", override)]
    return main(["run", str(experiment), "--out", str(folder), *arguments])


def dense_of(rows: torch.Tensor | SparseRows) -> torch.Tensor:
    return torch.from_numpy(as_array(rows).toarray()) if isinstance(rows, SparseRows) else rows
