"""Training the student: warm up one expert, lay out the memory, clone, distil.

Rumiantsev & Coates, TMLR 2024, sections on initialisation and training; docs/method.md tells what differs.
Dimension letters: N observed nodes, U unseen nodes, F features, P position width, B batch, C classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from rbm_training.config import DistillConfig, ExperimentConfig, RoutingConfig
from rbm_training.evaluate import accuracy, fit_temperature
from rbm_training.graph import Floats, Task
from rbm_training.losses import (
    TERM_NAMES,
    LossTerms,
    SoftTargets,
    commitment,
    distillation_sum,
    hard_label_sum,
    load_balance,
    self_similarity,
    soft_targets,
)
from rbm_training.run_log import RunLog
from rbm_training.sampling import ReliablePairSampler
from rbm_training.scaling import InputScaling
from rbm_training.selection import EpochMetrics, Selection
from rbm_training.students.memory import MemoryAverager, start_routing
from rbm_training.students.rbm import RbMStudent, StudentOutput, build_student
from rbm_training.teacher import TeacherResult

MAX_RELIABLE_MEAN_DEGREE = 10.0
REFIT_AFTER_EPOCHS = 50


@dataclass(frozen=True, slots=True)
class StudentInputs:
    """What the student sees, on one device.

    Shapes: features (N, F), positions (N, P), labels (N,); train, val and test index rows; the unseen_*
    tensors hold the U unseen nodes.
    """

    features: Tensor
    positions: Tensor
    labels: Tensor
    train: Tensor
    val: Tensor
    test: Tensor
    unseen_features: Tensor
    unseen_positions: Tensor
    unseen_labels: Tensor

    @property
    def test_labels(self) -> Tensor:
        """Labels of the setting's test nodes: the unseen ones where there are any."""
        return self.test_rows(self.labels, self.unseen_labels)

    def test_rows(self, observed: Tensor, unseen: Tensor) -> Tensor:
        """Of something said of the N observed and of the U unseen nodes, what was said of the test nodes."""
        return unseen if len(self.unseen_labels) else observed[self.test]


@dataclass(frozen=True, slots=True)
class DistilledStudent:
    """A trained student at its best epoch, and the story of its training."""

    student: RbMStudent
    selected: EpochMetrics
    history: list[EpochMetrics]
    test_accuracy_max: float


def student_inputs(
    task: Task, positions: Floats, unseen_positions: Floats, device: torch.device
) -> StudentInputs:
    """Lay a task and its positions out for the student."""
    features, labels = task.graph.dense_features(), task.graph.labels
    observed, unseen = task.observed_nodes, task.unseen
    arrays = (
        *(features[observed], positions, labels[observed], task.train, task.val, task.test),
        *(features[unseen], unseen_positions, labels[unseen]),
    )
    return StudentInputs(*(torch.from_numpy(array).to(device) for array in arrays))


def train_student(
    inputs: StudentInputs,
    scaling: InputScaling,
    teacher: TeacherResult,
    edge_index: Tensor,
    config: ExperimentConfig,
    seed: int,
    log: RunLog,
) -> DistilledStudent:
    """Distil the teacher into an RbM student and keep the epoch that validation prefers.

    Args:
        scaling: of the inputs, fitted; becomes part of the student.
        edge_index: (2, M) edges of the observed graph, for reliable pairs.
    """
    student = _new_student(inputs, scaling, teacher.logits.shape[1], config).to(inputs.features.device)
    distiller = Distiller(student, inputs, teacher, edge_index, config.distill, config.routing)
    selection = Selection(config.distill.patience)
    with log.stage("student", config.distill.warmup_epochs + config.distill.max_epochs) as stage:
        for epoch in range(config.distill.warmup_epochs + config.distill.max_epochs):
            if epoch == config.distill.warmup_epochs:
                distiller.start_routing(seed)
                selection.forget_best()
            distiller.train_epoch()
            metrics = distiller.measure(epoch)
            selection.observe(metrics, student)
            log.event("epoch", **distiller.last_terms, epoch=epoch, val_accuracy=metrics.val_accuracy)
            stage.advance(f"validation {metrics.val_accuracy:.3f}")
            if selection.exhausted and distiller.routing_started:
                break
    selected = selection.restore(student)
    _calibrate(student, inputs)
    return DistilledStudent(student, selected, selection.history, selection.test_accuracy_max)


def _new_student(
    inputs: StudentInputs, scaling: InputScaling, num_classes: int, config: ExperimentConfig
) -> RbMStudent:
    num_features, position_width = inputs.features.shape[1], inputs.positions.shape[1]
    shape = config.student
    hidden = [shape.hidden] * (shape.num_layers - 1)
    return build_student(
        scaling,
        [num_features + position_width, *hidden, num_classes],
        shape.num_experts,
        shape.experts_per_row,
        shape.dropout,
        shape.input_gains,
    )


@torch.no_grad()
def _calibrate(student: RbMStudent, inputs: StudentInputs) -> None:
    logits = answer(student, inputs.features, inputs.positions).logits[inputs.val]
    student.temperature.fill_(fit_temperature(logits, inputs.labels[inputs.val]))


@torch.no_grad()
def answer(student: RbMStudent, features: Tensor, positions: Tensor) -> StudentOutput:
    """What the student says in evaluation mode."""
    student.eval()
    output: StudentOutput = student(features, positions)
    return output


class Distiller:
    """One student's training: an epoch is the gradient of all batches, one optimiser and one memory step."""

    def __init__(
        self,
        student: RbMStudent,
        inputs: StudentInputs,
        teacher: TeacherResult,
        edge_index: Tensor,
        config: DistillConfig,
        routing: RoutingConfig,
    ) -> None:
        self.student = student
        self.inputs = inputs
        self.config = config
        self.routing = routing
        self.teacher_logits = teacher.logits
        self.sampler = _sampler(edge_index, teacher.entropy_shift, config)
        self.memory = MemoryAverager(student, routing)
        self.is_train = torch.zeros_like(inputs.labels, dtype=torch.bool)
        self.is_train[inputs.train] = True
        self.last_terms: dict[str, float] = {}
        self.routing_started = False
        self._optimizer = self._new_optimizer()
        self._epochs_done = 0

    def start_routing(self, seed: int) -> None:
        """End the warm-up: lay out memories, clone the experts, and start the optimiser's moments afresh."""
        self.student.eval()
        start_routing(self.student, self.inputs.features, self.inputs.positions, seed)
        self._optimizer = self._new_optimizer()
        self.routing_started = True

    def train_epoch(self) -> None:
        """One optimiser step on all observed nodes, then one step of the memory."""
        self._optimizer.zero_grad()
        self.accumulate_gradients()
        self._optimizer.step()
        if self.routing_started:
            self.memory.step()
        self._epochs_done += 1

    def accumulate_gradients(self) -> None:
        """Add the epoch's gradient up, batch by batch; every observed node is seen once."""
        self.student.train()
        targets = self._targets()
        sums = torch.zeros(len(TERM_NAMES), dtype=torch.float64)
        for rows in self._batches():
            output = self.student(self.inputs.features[rows], self.inputs.positions[rows])
            terms = self._terms(output, rows, targets)
            terms.total().backward()
            if self.routing_started:
                self.memory.accumulate(output)
            sums += torch.stack([getattr(terms, name).detach().double().cpu() for name in TERM_NAMES])
        self.last_terms = dict(zip(TERM_NAMES, sums.tolist(), strict=True))
        self.last_terms["memory_similarity"] = self._memory_similarity()

    def measure(self, epoch: int) -> EpochMetrics:
        """Accuracies of this epoch; refits the pair sampler from the same answers."""
        inputs = self.inputs
        logits = answer(self.student, inputs.features, inputs.positions).logits
        unseen_logits = answer(self.student, inputs.unseen_features, inputs.unseen_positions).logits
        if self.sampler is not None and self._epochs_done >= REFIT_AFTER_EPOCHS:
            self.sampler.refit(logits.argmax(dim=1) == self.teacher_logits.argmax(dim=1))
        val_logits, val_labels = logits[inputs.val], inputs.labels[inputs.val]
        return EpochMetrics(
            epoch=epoch,
            val_accuracy=accuracy(val_logits, val_labels),
            val_loss=float(torch.nn.functional.cross_entropy(val_logits, val_labels)),
            test_accuracy=accuracy(inputs.test_rows(logits, unseen_logits), inputs.test_labels),
        )

    def _new_optimizer(self) -> torch.optim.Adam:
        return torch.optim.Adam(
            self.student.parameters(), self.config.learning_rate, weight_decay=self.config.weight_decay
        )

    def _memory_similarity(self) -> float:
        memories = [layer.memory for layer in self.student.routed_layers()]
        return float(torch.stack([self_similarity(memory) for memory in memories]).mean())

    def _targets(self) -> SoftTargets:
        pairs = self.sampler.draw() if self.sampler is not None else None
        return soft_targets(self.teacher_logits, self.config.temperature, self.config.tempering, pairs)

    def _batches(self) -> Iterator[Tensor]:
        num_rows = len(self.inputs.labels)
        order = torch.randperm(num_rows).to(self.inputs.labels.device)
        yield from order.split(self.config.batch_rows or num_rows)

    def _terms(self, output: StudentOutput, rows: Tensor, targets: SoftTargets) -> LossTerms:
        """The batch's part of the epoch's loss.

        `weighted_mean` divides by the epoch's counts, so that batches add up to the mean whatever their
        size (exactly so for all terms but the load balance, which is not linear in its rows).
        """
        config, labelled = self.config, self.is_train[rows]
        own = targets.rows(rows)
        nothing = output.logits.sum() * 0
        hard = hard_label_sum(output.logits[labelled], self.inputs.labels[rows][labelled])
        soft = distillation_sum(output.logits, own, config.temperature, config.tempering)
        whole = config.accumulate == "weighted_mean"
        num_labels = len(self.inputs.train) if whole else max(int(labelled.sum()), 1)
        num_pairs = (targets if whole else own).num_pairs.sum()
        share = len(rows) / len(self.inputs.labels) if whole else 1.0
        return LossTerms(
            hard_label=config.hard_label_weight * hard / num_labels,
            distillation=(1 - config.hard_label_weight) * soft / num_pairs,
            commitment=share * self.routing.commitment * commitment(output.layers)
            if output.layers
            else nothing,
            load_balance=share * self.routing.load_balance * load_balance(output.layers)
            if output.layers
            else nothing,
        )


def _sampler(
    edge_index: Tensor, entropy_shift: Tensor | None, config: DistillConfig
) -> ReliablePairSampler | None:
    if entropy_shift is None:
        return None
    mean_degree = edge_index.shape[1] / max(len(entropy_shift), 1)
    sparse = mean_degree <= MAX_RELIABLE_MEAN_DEGREE
    if config.pairs == "reliable" or (config.pairs == "auto" and sparse and edge_index.shape[1]):
        return ReliablePairSampler(edge_index, entropy_shift)
    return None
