"""Small real objects that the training tests share."""

from dataclasses import dataclass

import numpy as np
import torch

from rbm_training.config import ExperimentConfig
from rbm_training.graph import Task
from rbm_training.pipeline import fit_scaling
from rbm_training.positions import encode_positions, positions_of
from rbm_training.run_log import RunLog
from rbm_training.runtime import seed_everything
from rbm_training.scaling import InputScaling
from rbm_training.student_inputs import StudentInputs, student_inputs
from rbm_training.students.rbm import RbMStudent, build_student
from rbm_training.teachers import TeacherResult, train_teacher

CPU = torch.device("cpu")

SMALL_EXPERIMENT = """
name = "small"
[dataset]
kind = "synthetic"
setting = "inductive"
train_per_class = 8
val_per_class = 8
[teacher]
hidden = 16
max_epochs = 30
[positions]
width = 8
walk_length = 10
walks_per_node = 2
[student]
hidden = 16
[distill]
warmup_epochs = 5
max_epochs = 25
"""


@dataclass(frozen=True)
class Prepared:
    """Everything up to the student, for one seed of the small experiment."""

    config: ExperimentConfig
    task: Task
    scaling: InputScaling
    teacher: TeacherResult
    positions: np.ndarray
    inputs: StudentInputs
    edges: torch.Tensor
    log: RunLog


def prepare(config: ExperimentConfig, task: Task, folder, seed: int = 0) -> Prepared:
    seed_everything(seed, num_threads=1)
    log = RunLog(folder)
    scaling = fit_scaling(config, task)
    teacher = train_teacher(task, scaling, config.teacher, seed, CPU, log)
    positions = encode_positions(task, config.positions, seed, log)
    inputs = student_inputs(task, positions, positions_of(task, positions, task.unseen), CPU)
    return Prepared(
        config, task, scaling, teacher, positions, inputs, torch.from_numpy(task.observed.edge_index), log
    )


def routed_student(
    num_features: int = 6,
    position_width: int = 4,
    widths: tuple[int, ...] = (8, 3),
    num_experts: int = 4,
    experts_per_row: int = 2,
    features: str = "l2",
    position_norm: float | None = 0.5,
    gains: bool = True,
    seed: int = 0,
) -> RbMStudent:
    """A student with random weights, memories, scales and gains, in evaluation mode."""
    torch.manual_seed(seed)
    scaling = InputScaling(num_features, features, position_norm)
    scaling.fit(torch.randn(50, num_features) * 3 + 1)
    student = build_student(
        scaling, [num_features + position_width, *widths], num_experts, experts_per_row, 0.0, gains
    )
    for layer in student.routed_layers():
        layer.start_routing(torch.randn_like(layer.memory))
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
        torch.nn.init.normal_(layer.log_scale, std=0.2)
        if layer.log_gain is not None:
            torch.nn.init.normal_(layer.log_gain, std=0.2)
    student.temperature.fill_(1.7)
    return student.eval()


def write_npz(path, **changes) -> None:
    """A small good graph of six nodes and four features; a change of None leaves the key out."""
    good = {
        "edge_index": np.array([[0, 1, 2, 3, 4, 5, 0], [1, 2, 3, 4, 5, 0, 0]]),
        "x": np.arange(24, dtype=np.float32).reshape(6, 4),
        "y": np.array([0, 1, 0, 1, -1, 1]),
    }
    np.savez(path, **{key: value for key, value in (good | changes).items() if value is not None})
