"""What every student of a task shares: the scaling of its inputs, the teacher's predictions, the positions.

Dimension letters: N observed nodes, M directed edges, C classes.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rbm_training.config import ExperimentConfig, PrecomputedTeacherConfig, TeacherConfig
from rbm_training.config.registry import AUTO, plugin_digests
from rbm_training.data.class_weights import weighted
from rbm_training.data.dataset import Dataset
from rbm_training.data.graph import Floats, Task, whole_task
from rbm_training.data.scaling import InputScaling
from rbm_training.data.sparse_rows import as_array, rows_of
from rbm_training.distillation.inputs import StudentInputs, student_inputs
from rbm_training.distillation.refit_plan import RefitPlan
from rbm_training.encodings.encode import encode_positions
from rbm_training.encodings.unseen import infer_positions
from rbm_training.evaluation.feature_baseline import STRENGTHS, Baseline, fit_baseline
from rbm_training.runtime.artifacts import Artifact, ArtifactStore
from rbm_training.runtime.checkpoint import Checkpoint
from rbm_training.runtime.environment import describe_environment, pick_device, seed_everything
from rbm_training.runtime.log import RunLog
from rbm_training.students.budget import InputSize
from rbm_training.teachers import TeacherInputs, TeacherResult, train_teacher
from rbm_training.teachers.precomputed import read_logits, teacher_from_logits


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Everything up to the student, for one seed.

    Shapes: positions (N, P) of the observed nodes, known_positions (N + V, P) of those and, inferred, of the
    V pseudo-unseen ones; edge_index (2, M).
    """

    task: Task
    scaling: InputScaling
    baseline: Baseline
    teacher: TeacherResult
    positions: Floats
    known_positions: Floats
    inputs: StudentInputs
    edge_index: Tensor

    @property
    def input_size(self) -> InputSize:
        """What the costs of a student depend on."""
        features = self.inputs.features
        stored = None if isinstance(features, Tensor) else len(features.values) / len(features)
        num_inputs, num_classes = self.inputs.scaled.shape[1], self.teacher.logits.shape[1]
        return InputSize(num_inputs, num_classes, self.positions.shape[1], stored)


def prepare_training_data(
    config: ExperimentConfig,
    dataset: Dataset,
    seed: int,
    log: RunLog,
    store: ArtifactStore | None = None,
    plan: RefitPlan | None = None,
) -> TrainingData:
    """Baseline, teacher and positions of one seed. Each stage starts from the seed alone, so that nothing
    depends on which artifacts were there.

    Args:
        plan: what to fit once more, on all labels and all nodes.

    Raises:
        GraphError: a malformed split or saved teacher.
        DivergedError: the teacher left the numbers.
    """
    device = pick_device()
    task = dataset.task(config.dataset, seed) if plan is None else whole_task(dataset.graph)
    task = weighted(task, config.dataset.class_weights)
    seed_everything(seed, config.threads_for(dataset.graph.num_nodes, dataset.graph.num_values))
    scaling = fit_scaling(config, task).to(device)
    source = _Source(config, dataset, task, scaling, seed, log, device, store, plan)
    baseline = source.baseline()
    teacher, positions = source.teacher(baseline), source.positions()
    pseudo_unseen = infer_positions(task.graph, task.observed_nodes, positions, task.pseudo_unseen)
    known = np.concatenate([positions, pseudo_unseen])
    unseen = infer_positions(task.graph, task.known_nodes, known, task.unseen)
    inputs = student_inputs(task, scaling, positions, unseen, pseudo_unseen)
    edges = torch.from_numpy(task.observed.edge_index).to(device)
    return TrainingData(task, scaling, baseline, teacher, positions, known, inputs, edges)


def cache_key(
    config: ExperimentConfig, dataset: Dataset, seed: int, *tables: str, plan: RefitPlan | None = None
) -> dict[str, Any]:
    """Return what a stage depends on: the data, the split, the seed, the libraries and the device, the code
    of plugins, some tables of the experiment, and what is fitted once more."""
    document = config.model_dump(mode="json")
    read = {name: document[name] for name in tables}
    read["num_threads"] = config.threads_for(dataset.graph.num_nodes, dataset.graph.num_values)
    split = {k: v for k, v in document["dataset"].items() if k not in ("root", "path", "kind", "name")}
    made_with = {"seed": seed, "environment": describe_environment()}
    if "teacher" in tables and isinstance(config.teacher, PrecomputedTeacherConfig):
        read["teacher"] = {"kind": config.teacher.kind}  # wherever the file lies
        made_with["logits"] = hashlib.sha256(config.teacher.logits.read_bytes()).hexdigest()
    if config.plugins:  # of whose kinds any stage may be made
        made_with["plugins"] = plugin_digests(config.plugins)
    if plan is not None:
        made_with["plan"] = asdict(plan) if "student" in tables else asdict(plan.before_student())
    return {"data": dataset.sha256, "split": split, **made_with, **read}


@dataclass(frozen=True, slots=True)
class _Source:
    """Makes the stages, or finds them."""

    config: ExperimentConfig
    dataset: Dataset
    task: Task
    scaling: InputScaling
    seed: int
    log: RunLog
    device: torch.device
    store: ArtifactStore | None
    plan: RefitPlan | None

    def baseline(self) -> Baseline:
        """Logistic regression on the scaled features."""

        def make() -> Artifact:
            graph = self.task.observed
            features = as_array(self.scaling.scale_features(rows_of(graph.features, self.device)))
            nodes, weights = (self.task.train, self.task.val), self.task.class_weights
            strengths = STRENGTHS if self.plan is None else (self.plan.strength,)
            fitted = fit_baseline(features, graph.labels, *nodes, graph.num_classes, strengths, weights)
            arrays = {"weight": fitted.weight, "bias": fitted.bias}
            return Artifact(arrays, {"strength": fitted.strength})

        key = self._key()
        found = self._stage("baseline", key | {"scaling": self.config.scaling.features}, make)
        weight, bias = (np.array(found.arrays[name]) for name in ("weight", "bias"))
        return Baseline(weight, bias, found.facts["strength"])

    def positions(self) -> Floats:
        def make() -> Artifact:
            positions = encode_positions(self.task, self.config.positions, self.seed, self.log)
            return Artifact({"positions": positions})

        is_inductive = self.config.dataset.setting == "inductive"
        # Of a graph that was whole when it was measured they are the same, unless labels have a part in them.
        plan = self.plan if is_inductive or self.config.positions.label_propagation else None
        key = cache_key(self.config, self.dataset, self.seed, "positions", plan=plan)
        return np.array(self._stage("encodings", key, make).arrays["positions"], np.float32)

    def teacher(self, baseline: Baseline) -> TeacherResult:
        teacher = self.config.teacher
        if isinstance(teacher, PrecomputedTeacherConfig):
            return teacher_from_logits(read_logits(teacher.logits, self.dataset), self.task, self.device)
        key = self._key("teacher", "compat")
        key["scaling"] = self.config.scaling.features
        file = None if self.store is None else self.store.checkpoint_file("teacher", key)
        checkpoint = Checkpoint(file, self.log, self.config.plugins)

        def make() -> Artifact:
            return self._train_teacher(teacher, checkpoint, baseline).as_artifact()

        return TeacherResult.from_artifact(self._stage("teacher", key, make), self.device)

    def _train_teacher(
        self, config: TeacherConfig, checkpoint: Checkpoint, baseline: Baseline
    ) -> TeacherResult:
        seed_everything(
            self.seed, self.config.threads_for(self.dataset.graph.num_nodes, self.dataset.graph.num_values)
        )
        return train_teacher(
            TeacherInputs(self.task, self.scaling, baseline),
            config,
            self.seed,
            self.log,
            checkpoint,
            unit_noise=self.config.compat == "released",
            again=self.plan.teacher if self.plan is not None else (),
        )

    def _key(self, *tables: str) -> dict[str, Any]:
        return cache_key(self.config, self.dataset, self.seed, *tables, plan=self.plan)

    def _stage(self, name: str, key: Mapping[str, Any], make: Callable[[], Artifact]) -> Artifact:
        return make() if self.store is None else self.store.get(name, key, make)


def fit_scaling(config: ExperimentConfig, task: Task) -> InputScaling:
    """The input scaling of an experiment, fitted on observed features."""
    norm = None if config.scaling.position_norm == "none" else config.scaling.position_norm
    assert config.scaling.features != AUTO, "what it comes down to was found before"
    scaling = InputScaling(task.graph.num_features, config.scaling.features, norm)
    features = task.observed.features
    return scaling.fit(torch.from_numpy(features)) if isinstance(features, np.ndarray) else scaling
