"""Training a student: warm up one expert, start routing, clone, distil, keep the best epoch.

Rumiantsev & Coates, TMLR 2024, sections on initialisation and training; docs/method.md tells what differs.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch

from rbm_training.config import ExperimentConfig, StudentConfig
from rbm_training.config.candidates import student_candidates
from rbm_training.distillation.predictions import evaluate, predict_all
from rbm_training.distillation.refit_plan import RefitPlan
from rbm_training.distillation.released import ReleasedTrainer
from rbm_training.distillation.trainer import StudentTrainer
from rbm_training.distillation.training_data import TrainingData
from rbm_training.evaluation.calibration import fit_temperature
from rbm_training.evaluation.early_stopping import EarlyStopping, EpochMetrics, LastEpoch
from rbm_training.runtime.checkpoint import Checkpoint
from rbm_training.runtime.log import RunLog
from rbm_training.students.budget import costs_of, widths_of, within_budget
from rbm_training.students.complexity import Costs
from rbm_training.students.kind import build_student, student_kind
from rbm_training.students.routing import LayerUse
from rbm_training.students.student import Student

MEMBER_STRIDE = 1000  # between the seeds of the members of an ensemble


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """An epoch: its accuracies, the parts of its loss, and how validation nodes use each layer of several
    experts."""

    metrics: EpochMetrics
    terms: dict[str, float]
    use: list[LayerUse]


@dataclass(frozen=True, slots=True)
class DistilledStudent:
    """A trained student at its best epoch, and the course of its training.

    `shape` is what describes it, where `auto` and a budget are decided. `validation` is what it was selected
    by, `selected_epoch` None for an ensemble, whose members each have their own, and `history` that of the
    first member. `test_accuracy_max` is the highest test accuracy of any epoch, `num_epochs` how many each
    member was trained up to its best one. `batch_rows` is how many rows it is asked about at a time,
    `hard_label_weight` the λ it was trained with.
    """

    student: Student
    shape: StudentConfig
    costs: Costs
    validation: EpochMetrics
    selected_epoch: int | None
    test_accuracy_max: float | None
    num_epochs: tuple[int, ...]
    history: list[EpochRecord]
    batch_rows: int
    hard_label_weight: float


@dataclass(frozen=True, slots=True)
class _Training:
    """A student in training."""

    trainer: StudentTrainer
    early_stopping: EarlyStopping
    warmup_epochs: int
    history: list[EpochRecord]

    @property
    def student(self) -> Student:
        """Of the last epoch, and of the best one once that is restored."""
        return self.trainer.student

    @property
    def best(self) -> EpochMetrics:
        """The epoch that is kept."""
        best = self.early_stopping.best
        assert best is not None, "an epoch was observed"
        return best

    def is_finished(self, num_epochs: int) -> bool:
        """Whether there is no use in another epoch."""
        done = len(self.history)
        return done >= num_epochs or (self.early_stopping.exhausted and done > self.warmup_epochs)

    def train_epoch(self, seed: int) -> EpochRecord:
        """Start routing once the warm-up is over; then learn, move memories, measure."""
        trainer, epoch = self.trainer, len(self.history)
        if trainer.routes and epoch == self.warmup_epochs:
            trainer.start_routing(seed)
            if trainer.resets_after_warm_up:
                self.early_stopping.reset()
        trainer.train_epoch()
        metrics = trainer.measure(epoch)
        self.early_stopping.observe(metrics, trainer.student)
        self.history.append(EpochRecord(metrics, trainer.last_terms, trainer.last_use))
        return self.history[-1]


def train_student(
    config: ExperimentConfig,
    data: TrainingData,
    seed: int,
    log: RunLog,
    checkpoint: Checkpoint,
    plan: RefitPlan | None = None,
) -> DistilledStudent:
    """Distil the teacher into a student of one kind; the epoch that validation prefers.

    Args:
        checkpoint: where students in training are kept.
        plan: how long to train, where nothing is left to select on.
    """
    checkpoint.resume(**{field.name: getattr(data, field.name) for field in fields(data)})
    trained = _StudentTraining(config, data, log, checkpoint, plan).train(seed)
    if plan is None:
        log.event(
            "student",
            kind=trained.student.kind,
            layer_widths=trained.student.layer_widths,
            num_experts=trained.student.num_experts,
            flops_per_node=trained.costs.flops_per_node,
            sparse_flops_per_node=trained.costs.sparse_flops_per_node,
            val_accuracy=trained.validation.val_accuracy,
        )
    return trained


def best_of_kinds(
    config: ExperimentConfig, data: TrainingData, train: Callable[[ExperimentConfig], DistilledStudent]
) -> DistilledStudent:
    """Train the student of an experiment, as wide as its budget allows; of kind `auto`, one of each that it
    stands for, and return the one that validation prefers.

    Raises:
        ConfigError: no student is within the budget.
    """
    shapes = within_budget(student_candidates(config), data.input_size)
    students = [train(config.model_copy(update={"student": shape})) for shape in shapes]
    return max(students, key=lambda trained: trained.validation.preference)


@dataclass(frozen=True, slots=True)
class _StudentTraining:
    """What a student is trained with, whatever its kind."""

    config: ExperimentConfig
    data: TrainingData
    log: RunLog
    checkpoint: Checkpoint
    plan: RefitPlan | None

    def train(self, seed: int) -> DistilledStudent:
        """See `train_student`."""
        shape = self.config.student
        kind = student_kind(shape.kind)
        costs, num_members = costs_of(shape, self.data.input_size), kind.num_members(shape)
        if not kind.is_distilled:
            return self._calibrated(self._regression(shape, costs))
        if num_members is not None:
            members = [self._train_one(shape, seed, member) for member in range(num_members)]
            return self._calibrated(self._ensemble(members, costs))
        trained = self._train_one(shape, seed)
        best = trained.best
        most = trained.early_stopping.test_accuracy_max
        return self._calibrated(
            DistilledStudent(
                student=trained.student,
                shape=shape,
                costs=costs,
                validation=best,
                selected_epoch=best.epoch,
                test_accuracy_max=most,
                num_epochs=(best.epoch + 1,),
                history=trained.history,
                batch_rows=self._batch_rows,
                hard_label_weight=self._label_weight,
            )
        )

    def _train_one(self, shape: StudentConfig, first_seed: int, member: int = 0) -> _Training:
        seed = first_seed + MEMBER_STRIDE * member
        training = self.checkpoint.training(f"{shape.kind} {seed}", lambda: self._begin(shape, seed))
        num_epochs = training.warmup_epochs + self.config.distill.max_epochs
        if self.plan is not None:
            num_epochs = self.plan.num_epochs[member]
        title = f"student {shape.kind}" if self.plan is None else f"student {shape.kind} of all labels"
        with self.log.stage(title, num_epochs, len(training.history)) as stage:
            while not training.is_finished(num_epochs):
                record = training.train_epoch(seed)
                accuracy = {training.early_stopping.accuracy_name: record.metrics.val_accuracy}
                self.log.event("epoch", **record.terms, epoch=record.metrics.epoch, **accuracy)
                stage.advance(training.early_stopping.told(record.metrics))
                self.checkpoint.save_if_due()
            stage.conclude(f"{training.early_stopping.told(training.best)} of the kept epoch")
        self.checkpoint.save()
        training.trainer.restore(training.early_stopping, seed)
        return training

    def _begin(self, shape: StudentConfig, seed: int) -> _Training:
        torch.manual_seed(seed)
        config, trainer = self.config.distill, self._trainer(shape)
        warmup_epochs = config.warmup_epochs if trainer.routes else 0
        early_stopping = EarlyStopping(config.patience) if self.plan is None else LastEpoch()
        return _Training(trainer, early_stopping, warmup_epochs, [])

    def _trainer(self, shape: StudentConfig) -> StudentTrainer:
        config, data = self.config, self.data
        student = self._new_student(shape)
        kind = ReleasedTrainer if config.compat == "released" else StudentTrainer
        learns_from = student, data.inputs, data.teacher, data.edge_index
        return kind(*learns_from, config.distill, config.routing, self._label_weight)

    def _new_student(self, shape: StudentConfig) -> Student:
        student = build_student(self.data.scaling, widths_of(shape, self.data.input_size), shape)
        return student.to(self.data.inputs.labels.device)

    @property
    def _label_weight(self) -> float:
        """λ; of a fit of all labels, that of the fit of some."""
        if self.plan is not None:
            return self.plan.hard_label_weight
        return self.config.distill.label_weight(self.data.inputs.training_share)

    @property
    def _batch_rows(self) -> int:
        return self.config.distill.rows_per_pass(len(self.data.inputs.labels))

    @torch.no_grad()
    def _regression(self, shape: StudentConfig, costs: Costs) -> DistilledStudent:
        """The baseline as a student."""
        student, baseline = self._new_student(shape), self.data.baseline
        [layer] = student.expert_layers()
        layer.weight.zero_()
        layer.weight[0, : len(baseline.weight)] = torch.from_numpy(baseline.weight)
        layer.bias[0] = torch.from_numpy(baseline.bias)
        return self._measured(student.eval(), costs, (), [])

    def _measured(
        self, student: Student, costs: Costs, num_epochs: tuple[int, ...], history: list[EpochRecord]
    ) -> DistilledStudent:
        """A student that no epoch of its own is the best of."""
        weight, inputs = self.config.distill.pseudo_unseen_weight, self.data.inputs
        metrics = evaluate(student, inputs, self._batch_rows).metrics(inputs, weight, epoch=0)
        return DistilledStudent(
            student=student,
            shape=self.config.student,
            costs=costs,
            validation=metrics,
            selected_epoch=None,
            test_accuracy_max=None,
            num_epochs=num_epochs,
            history=history,
            batch_rows=self._batch_rows,
            hard_label_weight=self._label_weight,
        )

    def _ensemble(self, members: list[_Training], costs: Costs) -> DistilledStudent:
        students = [member.student for member in members]
        student = student_kind(students[0].kind).join(students)
        num_epochs = tuple(member.best.epoch + 1 for member in members)
        return self._measured(student, costs, num_epochs, members[0].history)

    @torch.no_grad()
    def _calibrated(self, trained: DistilledStudent) -> DistilledStudent:
        if self.plan is not None:
            trained.student.temperature.fill_(self.plan.temperature)
            return trained
        predictions = predict_all(trained.student, self.data.inputs, trained.batch_rows)
        logits, labels = predictions.evaluation(self.data.inputs).all_validation(self.data.inputs)
        trained.student.temperature.fill_(fit_temperature(logits, labels))
        return trained
