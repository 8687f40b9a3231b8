"""Other students of the same teacher, trained beside the one of a run for its page to compare it with."""

import statistics
import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnxruntime import InferenceSession

from rbm_training.config import ExperimentConfig
from rbm_training.config.methods import baseline_experiments
from rbm_training.data.dataset import Dataset
from rbm_training.distillation.predictions import evaluate
from rbm_training.distillation.student_artifact import trained_student
from rbm_training.distillation.train import DistilledStudent
from rbm_training.distillation.training_data import TrainingData, prepare_training_data
from rbm_training.evaluation.early_stopping import DivergedError
from rbm_training.export.graphs import build_graph
from rbm_training.export.parity import graph_inputs, open_session
from rbm_training.reporting.report_data import Method
from rbm_training.runtime.artifacts import ArtifactStore
from rbm_training.runtime.log import RunLog
from rbm_training.students.student import Student

NUM_WARM_UP_CALLS: Final = 10
NUM_TIMED_CALLS: Final = {1: 200, 128: 40}


@dataclass(frozen=True, slots=True)
class TrainedStudent:
    """A trained student and what it was trained on."""

    name: str
    seed: int
    data: TrainingData
    distilled: DistilledStudent


def train_baselines(
    config: ExperimentConfig, dataset: Dataset, student: TrainedStudent, log: RunLog, store: ArtifactStore
) -> list[TrainedStudent]:
    """The students that `report.baselines` names, of the student's seed and teacher; one that diverges is
    left out, and so is one of the student's own kind."""
    baselines, seed = [], student.seed
    for name, experiment in baseline_experiments(config).items():
        if name == student.name:
            continue
        data = prepare_training_data(experiment, dataset, seed, log, store)
        try:
            distilled = trained_student(experiment, dataset, data, seed, log, store)
        except DivergedError as error:
            log.event("baseline_diverged", baseline=name, reason=str(error))
        else:
            baselines.append(TrainedStudent(name, seed, data, distilled))
    return baselines


def describe_method(trained: TrainedStudent) -> Method:
    """Accuracy, costs, and latency on one thread of this machine's processor."""
    distilled, inputs = trained.distilled, trained.data.inputs
    session = open_session(cpu_graph(distilled.student, trained.data))
    return Method(
        name=trained.name,
        val_accuracy=distilled.validation.val_accuracy,
        test_accuracy=evaluate(distilled.student, inputs, distilled.batch_rows).test_accuracy(inputs),
        num_parameters=distilled.costs.num_parameters,
        flops_per_node=distilled.costs.flops_per_node,
        latency_microseconds_alone=_microseconds_per_row(session, trained.data, 1),
        latency_microseconds_batched=_microseconds_per_row(session, trained.data, 128),
        layer_widths=distilled.student.layer_widths,
        num_experts=distilled.student.num_experts,
        sparse_flops_per_node=distilled.costs.sparse_flops_per_node,
    )


def cpu_graph(student: Student, data: TrainingData) -> bytes:
    """The graph of a student as a bundle has it for the CPU, for features as the task stores them."""
    is_dense = isinstance(data.task.observed.features, np.ndarray)
    return build_graph(student.on_cpu(), "grouped", "dense" if is_dense else "sparse")


def first_rows(data: TrainingData, num_rows: int) -> dict[str, npt.NDArray[Any]]:
    """Inputs of a graph for the first observed nodes, over again where there are too few."""
    rows = np.resize(np.arange(len(data.task.observed_nodes)), num_rows)
    return graph_inputs(data.task.observed.features[rows], data.positions[rows])


def _microseconds_per_row(session: InferenceSession, data: TrainingData, num_rows: int) -> float:
    """Median time of a call of the exported graph by its rows."""
    inputs = first_rows(data, num_rows)
    seconds = []
    for _ in range(NUM_WARM_UP_CALLS + NUM_TIMED_CALLS[num_rows]):
        started = time.perf_counter()
        session.run(["probabilities"], inputs)
        seconds.append(time.perf_counter() - started)
    return 1e6 * statistics.median(seconds[NUM_WARM_UP_CALLS:]) / num_rows
