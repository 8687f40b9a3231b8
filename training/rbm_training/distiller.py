"""One student's training, epoch by epoch: losses, one optimiser step, one memory step.

Dimension letters: N observed nodes, B batch, C classes.
"""

from collections.abc import Iterable
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from rbm_training.config import DistillConfig, RoutingConfig
from rbm_training.evaluate import accuracy
from rbm_training.losses import (
    TERM_NAMES,
    LossTerms,
    SoftTargets,
    Tempering,
    commitment,
    distillation_sum,
    hard_label_sum,
    load_balance,
    self_similarity,
    soft_targets,
)
from rbm_training.rows import Rows
from rbm_training.sampling import ReliablePairSampler
from rbm_training.selection import EpochMetrics, Selection
from rbm_training.student_inputs import StudentInputs
from rbm_training.students.memory import MemoryAverager, start_routing
from rbm_training.students.rbm import RbMStudent, StudentOutput
from rbm_training.teachers import TeacherResult

MAX_RELIABLE_MEAN_DEGREE = 10.0
REFIT_AFTER_EPOCHS = 50


@torch.no_grad()
def answer(student: RbMStudent, features: Rows, positions: Tensor) -> StudentOutput:
    """What the student says in evaluation mode."""
    student.eval()
    output: StudentOutput = student(features, positions)
    return output


class Memory(Protocol):
    """What moves a student's memories."""

    def accumulate(self, output: StudentOutput) -> None:
        """Take a batch's routing in."""

    def step(self) -> None:
        """End an optimiser step."""


class Distiller:
    """One student's training: an epoch is the gradient of all batches, one optimiser and one memory step."""

    tempering: ClassVar[Tempering] = "normalised"
    forgets_warm_up: ClassVar[bool] = True  # the kept epoch is a routed one

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
        self.memory = self._new_memory()
        self.is_train = torch.zeros_like(inputs.labels, dtype=torch.bool)
        self.is_train[inputs.train] = True
        self.last_terms: dict[str, float] = {}
        self.routing_started = False
        self._optimizer = self._new_optimizer()
        self._epochs_done = 0

    def _new_memory(self) -> Memory:
        return MemoryAverager(self.student, self.routing)

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
        order = torch.randperm(len(self.inputs.labels)).to(self.inputs.labels.device)
        batches = order.split(self.batch_rows)
        self._sum_up(self._learn(rows, targets) for rows in batches)

    @property
    def batch_rows(self) -> int:
        """Rows that a forward pass takes."""
        return self.config.batch_rows or len(self.inputs.labels)

    def _learn(self, rows: Tensor, targets: SoftTargets) -> LossTerms:
        output = self._forward(rows)
        return self._learn_from(output, self._terms(output, rows, targets))

    def _forward(self, rows: Tensor) -> StudentOutput:
        output: StudentOutput = self.student(self.inputs.features[rows], self.inputs.positions[rows])
        return output

    def _learn_from(self, output: StudentOutput, terms: LossTerms) -> LossTerms:
        """Add the gradient of a batch, and let the memory see it."""
        terms.total().backward()
        if self.routing_started:
            self.memory.accumulate(output)
        return terms

    def _sum_up(self, batches: Iterable[LossTerms]) -> None:
        """Note the epoch's loss for the log."""
        sums = torch.zeros(len(TERM_NAMES), dtype=torch.float64)
        for terms in batches:
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

    def restore(self, selection: Selection, seed: int) -> EpochMetrics:
        """Bring the student back to its best epoch."""
        return selection.restore(self.student)

    def _new_optimizer(self) -> torch.optim.Adam:
        return torch.optim.Adam(
            self.student.parameters(), self.config.learning_rate, weight_decay=self.config.weight_decay
        )

    def _memory_similarity(self) -> float:
        memories = [layer.memory for layer in self.student.routed_layers()]
        return float(torch.stack([self_similarity(memory) for memory in memories]).mean())

    def _targets(self) -> SoftTargets:
        pairs = self.sampler.draw() if self.sampler is not None else None
        return soft_targets(self.teacher_logits, self.config.temperature, self.tempering, pairs)

    def _terms(self, output: StudentOutput, rows: Tensor, targets: SoftTargets) -> LossTerms:
        """The batch's part of the epoch's loss.

        Sums are divided by the epoch's counts, so that batches add up to the mean whatever their size
        (exactly so for all terms but the load balance, which is not linear in its rows).
        """
        config, labelled = self.config, self.is_train[rows]
        hard = hard_label_sum(output.logits[labelled], self.inputs.labels[rows][labelled])
        soft = distillation_sum(output.logits, targets.rows(rows), config.temperature, self.tempering)
        share = len(rows) / len(self.inputs.labels)
        return LossTerms(
            hard_label=config.hard_label_weight * hard / len(self.inputs.train),
            distillation=(1 - config.hard_label_weight) * soft / targets.num_pairs.sum(),
            **self._auxiliary(output, share),
        )

    def _auxiliary(self, output: StudentOutput, share: float) -> dict[str, Tensor]:
        """The terms that speak of routing, which there is none of in the warm-up."""
        if not output.layers:
            nothing = output.logits.sum() * 0
            return {"commitment": nothing, "load_balance": nothing}
        return {
            "commitment": share * self.routing.commitment * commitment(output.layers),
            "load_balance": share * self.routing.load_balance * load_balance(output.layers),
        }


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
