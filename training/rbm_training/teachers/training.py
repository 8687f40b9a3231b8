"""Training a teacher: full batch, on the observed graph, the epoch of best validation kept.

Dimension letters: N nodes, U unseen nodes, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rbm_training.config import TeacherConfig
from rbm_training.config.registry import AUTO
from rbm_training.data.graph import Graph, Integers, Task
from rbm_training.data.scaling import InputScaling
from rbm_training.evaluation.early_stopping import EarlyStopping, EpochMetrics, LastEpoch
from rbm_training.evaluation.feature_baseline import Baseline
from rbm_training.evaluation.metrics import accuracy
from rbm_training.runtime.checkpoint import Checkpoint
from rbm_training.runtime.log import RunLog
from rbm_training.teachers.ensemble import Ensemble, Member
from rbm_training.teachers.inputs import GraphInputs, graph_inputs
from rbm_training.teachers.networks import GraphNetwork, build_network
from rbm_training.teachers.reliability import entropy_shift
from rbm_training.teachers.result import REGRESSION, MemberFacts, TeacherResult
from rbm_training.teachers.selection import best_members, candidate
from rbm_training.teachers.without_messages import Perceptron

DENSE_VALUES_PER_EDGE = 64  # that cost as much, measured: a dense product fetches nothing
SEED_STRIDE = 1000  # between the seeds of members, so that those of neighbouring runs differ


@dataclass(frozen=True, slots=True)
class TeacherInputs:
    """What a teacher learns from, on the device of the scaling.

    `baseline` is logistic regression, a candidate of kind `auto`, which needs it.
    """

    task: Task
    scaling: InputScaling
    baseline: Baseline | None = None

    @property
    def device(self) -> torch.device:
        """Where networks are trained."""
        return self.scaling.mean.device

    def graph(self, graph: Graph) -> GraphInputs:
        """A graph as the networks read it."""
        return graph_inputs(graph, self.scaling, self.device)


def train_teacher(
    inputs: TeacherInputs,
    config: TeacherConfig,
    seed: int,
    log: RunLog,
    checkpoint: Checkpoint,
    unit_noise: bool = False,
    again: Sequence[MemberFacts] = (),
) -> TeacherResult:
    """Train on the observed graph; select on validation; answer for observed and unseen nodes.

    Args:
        seed: of everything random here; torch's generator is set from it, once for each member.
        checkpoint: where networks in training are kept.
        unit_noise: how the answers' steadiness is tested, see `entropy_shift`.
        again: networks to train as long as they were trained before, in place of selecting any.
    """
    task, device, observed = inputs.task, inputs.device, _observe(inputs)
    checkpoint.resume()
    training = _TeacherTraining(inputs, observed, config, seed, log, checkpoint)
    members = training.again(again) if again else training.members()
    teacher = Ensemble(tuple(member.network for member in members))
    # A seed that no member has: weights and noise of one stream would be correlated.
    generator = torch.Generator(device).manual_seed(seed + SEED_STRIDE * config.members)
    prediction = full_prediction = teacher.predict(observed.inputs)
    if task.observed is not task.graph:
        full_prediction = teacher.predict(inputs.graph(task.graph))
    return TeacherResult(
        logits=prediction.logits,
        unseen_logits=full_prediction.logits[torch.from_numpy(task.unseen).to(device)],
        entropy_shift=entropy_shift(teacher, observed.inputs, generator, unit_noise),
        representations=prediction.representations,
        members=tuple(MemberFacts.of(member) for member in members),
    )


@dataclass(frozen=True, slots=True)
class _Labelled:
    """Some observed nodes, and their labels: each (number of nodes,)."""

    nodes: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True)
class _Observed:
    """The observed graph, the labels that are learnt from and selected on, and what the former weigh by
    class, (C,)."""

    inputs: GraphInputs
    train: _Labelled
    val: _Labelled
    class_weights: Tensor | None


def _observe(inputs: TeacherInputs) -> _Observed:
    task, device = inputs.task, inputs.device

    def labelled(nodes: Integers) -> _Labelled:
        labels = task.observed.labels[nodes]
        return _Labelled(torch.from_numpy(nodes).to(device), torch.from_numpy(labels).to(device))

    weights = None if task.class_weights is None else torch.from_numpy(task.class_weights).to(device)
    return _Observed(inputs.graph(task.observed), labelled(task.train), labelled(task.val), weights)


class _Training:
    """A network in training."""

    def __init__(self, network: GraphNetwork, config: TeacherConfig, early_stopping: EarlyStopping) -> None:
        self.network = network
        self.optimizer = torch.optim.Adam(
            network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        self.early_stopping = early_stopping

    @property
    def num_epochs(self) -> int:
        """Epochs that are done."""
        return len(self.early_stopping.history)

    def is_finished(self, max_epochs: int) -> bool:
        """Whether there is no use in another epoch."""
        return self.num_epochs >= max_epochs or self.early_stopping.exhausted

    def train_epoch(self, observed: _Observed) -> EpochMetrics:
        """One step of the optimiser; the accuracy after it."""
        train = observed.train
        self.network.train()
        self.optimizer.zero_grad()
        logits = self.network(observed.inputs).logits[train.nodes]
        F.cross_entropy(logits, train.labels, observed.class_weights).backward()
        self.optimizer.step()
        metrics = _measure(self.network, observed, self.num_epochs)
        self.early_stopping.observe(metrics, self.network)
        return metrics


@dataclass(frozen=True, slots=True)
class _TeacherTraining:
    """What all networks of a teacher are trained with."""

    inputs: TeacherInputs
    observed: _Observed
    config: TeacherConfig
    seed: int
    log: RunLog
    checkpoint: Checkpoint

    def members(self) -> list[Member]:
        """The networks that answer together."""
        config, count = self.config, self.config.members
        if config.kind == AUTO:
            return best_members(config, self._regression(), self._candidate, self._epoch_cost())
        titles = (
            ["teacher"] if count == 1 else [f"teacher {number + 1} of {count}" for number in range(count)]
        )
        return [
            self._trained(title, config, self.seed + SEED_STRIDE * number, EarlyStopping(config.patience))
            for number, title in enumerate(titles)
        ]

    def again(self, members: Sequence[MemberFacts]) -> list[Member]:
        """The networks that answered together in an earlier fit, each trained as long as it was there."""
        return [
            self._regression() if each.is_regression else self._retrained(number, each)
            for number, each in enumerate(members)
        ]

    def _retrained(self, number: int, facts: MemberFacts) -> Member:
        is_auto = self.config.kind == AUTO
        config = candidate(self.config, facts.described) if is_auto else self.config
        fixed = config.model_copy(update={"max_epochs": facts.epoch + 1})
        seed = self.seed if is_auto else self.seed + SEED_STRIDE * number
        return self._trained(f"teacher {number + 1} of all labels", fixed, seed, LastEpoch())

    def _candidate(self, config: TeacherConfig) -> Member:
        title = f"teacher {config.kind}, decay {config.weight_decay:g}"
        early_stopping = EarlyStopping(config.patience, watches_loss=True)
        member = self._trained(title, config, self.seed, early_stopping)
        self.log.event("candidate", **member.described, val_accuracy=member.best.val_accuracy)
        return member

    def _regression(self) -> Member:
        """Logistic regression as a network of one layer."""
        baseline = self.inputs.baseline
        assert baseline is not None, "kind `auto` was given it"
        network = Perceptron.of_weights(baseline.weight, baseline.bias).to(self.inputs.device)
        best = _measure(network, self.observed, epoch=0)
        return Member(network, {"kind": REGRESSION, "strength": baseline.strength}, best, num_epochs=0)

    def _epoch_cost(self) -> int:
        """Rows that are fetched from memory in an epoch: one for each edge and each non-zero feature."""
        graph, num_edges = self.inputs.task.observed, len(self.observed.inputs.edges.sources)
        if isinstance(graph.features, np.ndarray):
            return num_edges + graph.num_values // DENSE_VALUES_PER_EDGE
        return num_edges + graph.num_values

    def _trained(self, title: str, config: TeacherConfig, seed: int, early_stopping: EarlyStopping) -> Member:
        """A network at its best epoch."""
        training = self.checkpoint.training(title, lambda: self._begin(config, seed, early_stopping))
        with self.log.stage(title, config.max_epochs, training.num_epochs) as stage:
            while not training.is_finished(config.max_epochs):
                metrics = training.train_epoch(self.observed)
                stage.advance(early_stopping.told(metrics))
                self.checkpoint.save_if_due()
            best = training.early_stopping.restore(training.network)
            stage.conclude(f"{early_stopping.told(best)} of the kept epoch")
        self.checkpoint.save()
        described = {"kind": config.kind, "weight_decay": config.weight_decay}
        return Member(training.network, described, best, training.num_epochs)

    def _begin(self, config: TeacherConfig, seed: int, early_stopping: EarlyStopping) -> _Training:
        torch.manual_seed(seed)
        graph = self.inputs.task.graph
        network = build_network(config, graph.num_features, graph.num_classes).to(self.inputs.device)
        return _Training(network, config, early_stopping)


def _measure(network: GraphNetwork, observed: _Observed, epoch: int) -> EpochMetrics:
    val = observed.val
    logits = Ensemble((network,)).predict(observed.inputs).logits[val.nodes]
    return EpochMetrics(epoch, accuracy(logits, val.labels), float(F.cross_entropy(logits, val.labels)))
