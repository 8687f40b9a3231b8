"""One student's training, epoch by epoch: losses, one optimiser step, one memory step.

Dimension letters: N observed nodes, U nodes held out, B batch, C classes.
"""

from collections.abc import Iterable, Iterator
from typing import ClassVar

import torch
from torch import Tensor

from rbm_training.config import DistillConfig, RoutingConfig
from rbm_training.data.sparse_rows import Rows, drop_positions, unit_rows
from rbm_training.distillation.inputs import StudentInputs
from rbm_training.distillation.loss_term import LossBatch, LossContext, build_terms
from rbm_training.distillation.losses import (
    SoftTargets,
    Tempering,
    distillation_sum,
    hard_label_sum,
    self_similarity,
    soft_targets,
)
from rbm_training.distillation.neighbour_pairs import pair_sampler, pairs_are_promising
from rbm_training.distillation.predictions import Evaluation, evaluate, predict_all
from rbm_training.evaluation.early_stopping import EarlyStopping, EpochMetrics
from rbm_training.students.kind import student_kind
from rbm_training.students.memory import Memory
from rbm_training.students.routing import LayerRouting, LayerUse, RoutingMonitor
from rbm_training.students.student import Student, StudentOutput
from rbm_training.teachers import TeacherResult

REFIT_AFTER_EPOCHS = 50
MEMORY_SIMILARITY = "memory_similarity"  # told beside the terms, and none of them

Terms = dict[str, Tensor]
"""The parts of a loss by name, each already weighted."""


class StudentTrainer:
    """One student's training: an epoch is the gradient of all batches, one optimiser and one memory step.

    With `step_after = "batch"` the optimiser makes a step after each batch instead; the memory still moves
    once an epoch, unless `memory_step = "optimizer_step"`.

    Args:
        label_weight: λ, which `config` may leave to the data.
    """

    tempering: ClassVar[Tempering] = "normalised"
    resets_after_warm_up: ClassVar[bool] = True  # the kept epoch is a routed one

    def __init__(
        self,
        student: Student,
        inputs: StudentInputs,
        teacher: TeacherResult,
        edge_index: Tensor,
        config: DistillConfig,
        routing: RoutingConfig,
        label_weight: float,
    ) -> None:
        self.student = student
        self.inputs = inputs
        self.label_weight = label_weight
        self.config = config
        self.routing = routing
        self.teacher_logits = teacher.logits
        promising = config.pairs == "auto" and pairs_are_promising(
            inputs.setting, edge_index, inputs.labels, inputs.labelled
        )
        self.sampler = pair_sampler(config.pairs, edge_index, teacher.entropy_shift, promising)
        self.terms = build_terms(LossContext(student, teacher, config, routing))
        self.memory = self._new_memory()
        self.monitor = RoutingMonitor()
        self.is_train = torch.zeros_like(inputs.labels, dtype=torch.bool)
        self.is_train[inputs.train] = True
        self.last_terms: dict[str, float] = {}
        self.last_use: list[LayerUse] = []
        self.routing_started = False
        self._optimizer = self._new_optimizer()
        self._epochs_done = 0

    @property
    def routes(self) -> bool:
        """Whether there is a choice of experts, and so a warm-up of one of them."""
        return any(layer.num_experts > 1 for layer in self.student.expert_layers())

    def _new_memory(self) -> Memory:
        return student_kind(self.student.kind).new_memory(self.student, self.routing)

    def start_routing(self, seed: int) -> None:
        """End the warm-up: lay out memories, clone the experts, and start the optimiser's moments afresh."""
        self._lay_out_routing(seed)
        self._optimizer = self._new_optimizer()
        self.routing_started = True

    def _lay_out_routing(self, seed: int) -> None:
        kind, scaled = student_kind(self.student.kind), self.inputs.scaled
        kind.start_routing(self.student.eval(), scaled, self.routing, seed, self.batch_rows)

    def train_epoch(self) -> None:
        """Learn from all observed nodes, then move the memory."""
        if self.config.step_after == "batch":
            self._sum_up(self._step_after(rows, targets) for rows, targets in self._batches())
        else:
            self._optimizer.zero_grad()
            self.accumulate_gradients()
            self._optimizer.step()
        if not self._memory_moves_by_batch:
            self._move_memory()
        self._epochs_done += 1

    @property
    def _memory_moves_by_batch(self) -> bool:
        return (self.config.step_after, self.routing.memory_step) == ("batch", "optimizer_step")

    def _move_memory(self) -> None:
        if self.routing_started:
            self.memory.step()

    def accumulate_gradients(self) -> None:
        """Add the epoch's gradient up, batch by batch; every observed node is seen once."""
        self._sum_up(self._learn(rows, targets) for rows, targets in self._batches())

    def _batches(self) -> Iterator[tuple[Tensor, SoftTargets]]:
        """All observed nodes, in a new order if there are several batches, and the epoch's targets."""
        self.student.train()
        targets = self._targets()
        order = (torch.arange if self.in_one_batch else torch.randperm)(len(self.inputs.labels))
        order = order.to(self.inputs.labels.device)
        return ((rows, targets) for rows in order.split(self.batch_rows))

    @property
    def batch_rows(self) -> int:
        """Rows that a forward pass takes."""
        return self.config.rows_per_pass(len(self.inputs.labels))

    @property
    def in_one_batch(self) -> bool:
        """Whether that is all of them."""
        return self.batch_rows >= len(self.inputs.labels)

    def _step_after(self, rows: Tensor, targets: SoftTargets) -> Terms:
        """One optimiser step on a batch, as if the epoch were made of such batches."""
        self._optimizer.zero_grad()
        terms = self._learn(rows, targets, factor=len(self.inputs.labels) / len(rows))
        self._optimizer.step()
        if self._memory_moves_by_batch:
            self._move_memory()
        return terms

    def _learn(self, rows: Tensor, targets: SoftTargets, factor: float = 1.0) -> Terms:
        scaled = self._seen(rows)
        output: StudentOutput = self.student.classify(scaled)
        return self._learn_from(output, self._terms(scaled, output, rows, targets), factor)

    def _seen(self, rows: Tensor) -> Rows:
        """A batch of the scaled inputs, some of them without positions: a node without a known neighbour has
        zeros in the service, and zeros stay zeros when they are scaled."""
        scaled = self.inputs.scaled if self.in_one_batch else self.inputs.scaled[rows]
        if self.config.position_dropout == 0 or self.student.position_width == 0:
            return scaled
        dropped = torch.rand(len(rows), device=rows.device) < self.config.position_dropout
        return drop_positions(scaled, self.student.num_features, dropped)

    def _learn_from(self, output: StudentOutput, terms: Terms, factor: float = 1.0) -> Terms:
        """Add the gradient of a batch, and let the memory see it."""
        (factor * torch.stack([*terms.values()]).sum()).backward()
        if self.routing_started:
            self.memory.accumulate(output)
        return terms

    def _sum_up(self, batches: Iterable[Terms]) -> None:
        """Note the epoch's loss for the log."""
        sums: dict[str, Tensor] = {}
        for terms in batches:
            for name, term in terms.items():
                sums[name] = sums.get(name, 0) + term.detach().double().cpu()
        self.last_terms = {name: float(total) for name, total in sums.items()}
        memories = [layer.memory for layer in self.student.memory_layers()]
        if memories:
            similarities = torch.stack([self_similarity(unit_rows(memory)) for memory in memories])
            self.last_terms[MEMORY_SIMILARITY] = float(similarities.mean())

    def measure(self, epoch: int) -> EpochMetrics:
        """Accuracies of this epoch; notes how validation nodes are routed, and refits the pair sampler."""
        evaluation = self._evaluate()
        self.last_use = self.monitor.observe(evaluation.choices)
        return evaluation.metrics(self.inputs, self.config.pseudo_unseen_weight, epoch)

    def _evaluate(self) -> Evaluation:
        """Ask about validation and test nodes alone, unless the sampler wants to know where all nodes agree
        with the teacher."""
        if self.sampler is None or self._epochs_done < REFIT_AFTER_EPOCHS:
            return evaluate(self.student, self.inputs, self.batch_rows)
        predictions = predict_all(self.student, self.inputs, self.batch_rows)
        self.sampler.refit(predictions.observed.argmax(dim=1) == self.teacher_logits.argmax(dim=1))
        return predictions.evaluation(self.inputs)

    def restore(self, early_stopping: EarlyStopping, seed: int) -> EpochMetrics:
        """Bring the student back to its best epoch."""
        return early_stopping.restore(self.student)

    def _new_optimizer(self) -> torch.optim.Adam:
        beside = [parameter for term in self.terms.values() if term for parameter in term.parameters()]
        parameters = [*self.student.parameters(), *beside]
        config = self.config
        kind = torch.optim.AdamW if config.decoupled_weight_decay else torch.optim.Adam
        return kind(parameters, config.learning_rate, weight_decay=config.weight_decay)

    def _targets(self) -> SoftTargets:
        pairs = self.sampler.draw() if self.sampler is not None else None
        targets = soft_targets(self.teacher_logits, self.config.temperature, self.tempering, pairs)
        return targets.by_node() if self.config.pair_weight == "node" else targets

    def _terms(self, scaled: Rows, output: StudentOutput, rows: Tensor, targets: SoftTargets) -> Terms:
        """The batch's part of the epoch's loss.

        Sums are divided by the epoch's counts, so that batches add up to the mean whatever their size
        (exactly so for all terms but load balance and Gram, which are not linear in their rows).
        """
        hard_label, distillation = self._supervised(output.logits, rows, targets)

        def supervised(logits: Tensor) -> Tensor:
            return torch.stack(self._supervised(logits, rows, targets)).sum()

        share = len(rows) / len(self.inputs.labels)
        batch = LossBatch(rows, scaled, output, self._routed(output), share, supervised)
        return {"hard_label": hard_label, "distillation": distillation, **self._beside(batch)}

    def _routed(self, output: StudentOutput) -> tuple[LayerRouting, ...]:
        """How a batch was routed, which it is not in the warm-up."""
        return output.layers if self.routing_started else ()

    def _beside(self, batch: LossBatch) -> Terms:
        """The terms beside those of labels and teacher; those of weight 0 are there, and zero."""
        nothing = batch.output.logits.sum() * 0
        return {name: term.part(batch) if term else nothing for name, term in self.terms.items()}

    def _supervised(self, logits: Tensor, rows: Tensor, targets: SoftTargets) -> tuple[Tensor, Tensor]:
        """What labels and what the teacher ask of a batch, each with its weight."""
        config, inputs, labelled = self.config, self.inputs, self.is_train[rows]
        hard = hard_label_sum(logits[labelled], inputs.labels[rows][labelled], inputs.class_weights)
        soft = distillation_sum(logits, targets.rows(rows), config.temperature, self.tempering)
        return (
            self.label_weight * hard / inputs.total_label_weight,
            (1 - self.label_weight) * soft / targets.num_pairs.sum(),
        )
