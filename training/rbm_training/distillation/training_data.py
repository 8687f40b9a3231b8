"""What every student of a task shares: the scaling of its inputs, the teacher's predictions, the positions.

Dimension letters: N observed nodes, M directed edges, C classes.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rbm_training.config import ExperimentConfig, PrecomputedTeacherConfig, TeacherConfig
from rbm_training.config.registry import plugin_digests
from rbm_training.data.dataset import Dataset
from rbm_training.data.graph import Floats, Task
from rbm_training.data.scaling import InputScaling
from rbm_training.distillation.inputs import StudentInputs, student_inputs
from rbm_training.encodings.encode import encode_positions
from rbm_training.encodings.unseen import infer_positions
from rbm_training.runtime.artifacts import Artifact, ArtifactStore
from rbm_training.runtime.checkpoint import Checkpoint
from rbm_training.runtime.environment import describe_environment, pick_device, seed_everything
from rbm_training.runtime.log import RunLog
from rbm_training.teachers import TeacherResult, train_teacher
from rbm_training.teachers.precomputed import read_logits, teacher_from_logits


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Everything up to the student, for one seed.

    Shapes: positions (N, P) of the observed nodes, known_positions (N + V, P) of those and, inferred, of the
    V pseudo-unseen ones; edge_index (2, M).
    """

    task: Task
    scaling: InputScaling
    teacher: TeacherResult
    positions: Floats
    known_positions: Floats
    inputs: StudentInputs
    edge_index: Tensor


def prepare_training_data(
    config: ExperimentConfig, dataset: Dataset, seed: int, log: RunLog, store: ArtifactStore | None = None
) -> TrainingData:
    """Teacher and positions of one seed. Each stage starts from the seed alone, so that nothing depends on
    which artifacts were there.

    Raises:
        GraphError: a malformed split or saved teacher.
        DivergedError: the teacher left the numbers.
    """
    device = pick_device()
    task = dataset.task(config.dataset, seed)
    seed_everything(seed, config.threads_for(dataset.graph.num_values))
    scaling = fit_scaling(config, task).to(device)
    source = _Source(config, dataset, task, seed, log, device)
    teacher, positions = source.teacher(scaling, store), source.positions(store)
    pseudo_unseen = infer_positions(task.graph, task.observed_nodes, positions, task.pseudo_unseen)
    known = np.concatenate([positions, pseudo_unseen])
    unseen = infer_positions(task.graph, task.known_nodes, known, task.unseen)
    inputs = student_inputs(task, scaling, positions, unseen, pseudo_unseen)
    edges = torch.from_numpy(task.observed.edge_index).to(device)
    return TrainingData(task, scaling, teacher, positions, known, inputs, edges)


def cache_key(config: ExperimentConfig, dataset: Dataset, seed: int, *tables: str) -> dict[str, Any]:
    """Return what a stage depends on: the data, the split, the seed, the libraries and the device, the code
    of plugins, and some tables of the experiment."""
    document = config.model_dump(mode="json")
    read = {name: document[name] for name in tables}
    read["num_threads"] = config.threads_for(dataset.graph.num_values)
    split = {k: v for k, v in document["dataset"].items() if k not in ("root", "path", "kind", "name")}
    made_with = {"seed": seed, "environment": describe_environment()}
    if "teacher" in tables and isinstance(config.teacher, PrecomputedTeacherConfig):
        read["teacher"] = {"kind": config.teacher.kind}  # wherever the file lies
        made_with["logits"] = hashlib.sha256(config.teacher.logits.read_bytes()).hexdigest()
    if config.plugins:  # of whose kinds any stage may be made
        made_with["plugins"] = plugin_digests(config.plugins)
    return {"data": dataset.sha256, "split": split, **made_with, **read}


@dataclass(frozen=True, slots=True)
class _Source:
    """Makes the stages, or finds them."""

    config: ExperimentConfig
    dataset: Dataset
    task: Task
    seed: int
    log: RunLog
    device: torch.device

    def positions(self, store: ArtifactStore | None) -> Floats:
        def make() -> Artifact:
            positions = encode_positions(self.task, self.config.positions, self.seed, self.log)
            return Artifact({"positions": positions})

        key = cache_key(self.config, self.dataset, self.seed, "positions")
        found = make() if store is None else store.get("encodings", key, make)
        return np.array(found.arrays["positions"], np.float32)

    def teacher(self, scaling: InputScaling, store: ArtifactStore | None) -> TeacherResult:
        if isinstance(self.config.teacher, PrecomputedTeacherConfig):
            saved = read_logits(self.config.teacher.logits, self.dataset)
            return teacher_from_logits(saved, self.task, self.device)
        teacher = self.config.teacher
        if store is None:
            return self._train_teacher(scaling, teacher, Checkpoint(None, self.log))
        key = cache_key(self.config, self.dataset, self.seed, "teacher", "compat")
        key["scaling"] = self.config.scaling.features
        checkpoint = Checkpoint(store.checkpoint_file("teacher", key), self.log, self.config.plugins)

        def make() -> Artifact:
            return Artifact(self._train_teacher(scaling, teacher, checkpoint).as_arrays())

        return TeacherResult.from_arrays(store.get("teacher", key, make).arrays, self.device)

    def _train_teacher(
        self, scaling: InputScaling, config: TeacherConfig, checkpoint: Checkpoint
    ) -> TeacherResult:
        seed_everything(self.seed, self.config.threads_for(self.dataset.graph.num_values))
        unit_noise = self.config.compat == "released"
        return train_teacher(
            self.task, scaling, config, self.seed, self.device, self.log, checkpoint, unit_noise
        )


def fit_scaling(config: ExperimentConfig, task: Task) -> InputScaling:
    """The input scaling of an experiment, fitted on observed features."""
    norm = None if config.scaling.position_norm == "none" else config.scaling.position_norm
    scaling = InputScaling(task.graph.num_features, config.scaling.features, norm)
    features = task.observed.features
    return scaling.fit(torch.from_numpy(features)) if isinstance(features, np.ndarray) else scaling
