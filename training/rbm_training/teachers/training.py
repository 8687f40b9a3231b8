"""Training a teacher: full batch, on the observed graph, the epoch of best validation kept.

Dimension letters: N nodes, U unseen nodes, C classes.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rbm_training.config import TeacherConfig
from rbm_training.data.graph import Integers, Task
from rbm_training.data.scaling import InputScaling
from rbm_training.evaluation.early_stopping import EarlyStopping, EpochMetrics
from rbm_training.evaluation.metrics import accuracy
from rbm_training.runtime.checkpoint import Checkpoint
from rbm_training.runtime.log import RunLog
from rbm_training.teachers.ensemble import Ensemble
from rbm_training.teachers.inputs import GraphInputs, graph_inputs
from rbm_training.teachers.networks import GraphNetwork, build_network
from rbm_training.teachers.reliability import entropy_shift
from rbm_training.teachers.result import TeacherResult

SEED_STRIDE = 1000  # between the seeds of members, so that those of neighbouring runs differ


def train_teacher(
    task: Task,
    scaling: InputScaling,
    config: TeacherConfig,
    seed: int,
    device: torch.device,
    log: RunLog,
    checkpoint: Checkpoint,
    unit_noise: bool = False,
) -> TeacherResult:
    """Train on the observed graph; select on validation; answer for observed and unseen nodes.

    Args:
        seed: of everything random here; torch's generator is set from it, once for each member.
        checkpoint: where networks in training are kept.
        unit_noise: how the answers' steadiness is tested, see `entropy_shift`.
    """
    observed = _observe(task, scaling, device)
    checkpoint.resume()
    training = _TeacherTraining(task, observed, config, seed, log, checkpoint)
    teacher = Ensemble(tuple(training.member(number) for number in range(config.members)))
    # A seed that no member has: weights and noise of one stream would be correlated.
    generator = torch.Generator(device).manual_seed(seed + SEED_STRIDE * config.members)
    prediction = full_prediction = teacher.predict(observed.inputs)
    if task.observed is not task.graph:
        full_prediction = teacher.predict(graph_inputs(task.graph, scaling, device))
    return TeacherResult(
        logits=prediction.logits,
        unseen_logits=full_prediction.logits[torch.from_numpy(task.unseen).to(device)],
        entropy_shift=entropy_shift(teacher, observed.inputs, generator, unit_noise),
        representations=prediction.representations,
    )


@dataclass(frozen=True, slots=True)
class _Labelled:
    """Some observed nodes, and their labels: each (number of nodes,)."""

    nodes: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True)
class _Observed:
    """The observed graph, and the labels that are learnt from and selected on."""

    inputs: GraphInputs
    train: _Labelled
    val: _Labelled


def _observe(task: Task, scaling: InputScaling, device: torch.device) -> _Observed:
    def labelled(nodes: Integers) -> _Labelled:
        labels = task.observed.labels[nodes]
        return _Labelled(torch.from_numpy(nodes).to(device), torch.from_numpy(labels).to(device))

    inputs = graph_inputs(task.observed, scaling, device)
    return _Observed(inputs, labelled(task.train), labelled(task.val))


class _Member:
    """A network in training."""

    def __init__(self, network: GraphNetwork, config: TeacherConfig) -> None:
        self.network = network
        self.optimizer = torch.optim.Adam(
            network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        self.early_stopping = EarlyStopping(config.patience)

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
        F.cross_entropy(self.network(observed.inputs).logits[train.nodes], train.labels).backward()
        self.optimizer.step()
        metrics = _measure(self.network, observed, self.num_epochs)
        self.early_stopping.observe(metrics, self.network)
        return metrics


@dataclass(frozen=True, slots=True)
class _TeacherTraining:
    """What all networks of a teacher are trained with."""

    task: Task
    observed: _Observed
    config: TeacherConfig
    seed: int
    log: RunLog
    checkpoint: Checkpoint

    def member(self, number: int) -> GraphNetwork:
        """One of the networks, at its best epoch."""
        title = "teacher" if self.config.members == 1 else f"teacher {number + 1} of {self.config.members}"
        member = self.checkpoint.training(title, lambda: self._new_member(number))
        max_epochs = self.config.max_epochs
        with self.log.stage(title, max_epochs, member.num_epochs) as stage:
            while not member.is_finished(max_epochs):
                metrics = member.train_epoch(self.observed)
                stage.advance(f"validation {metrics.val_accuracy:.3f}")
                self.checkpoint.save_if_due()
        member.early_stopping.restore(member.network)
        return member.network

    def _new_member(self, number: int) -> _Member:
        torch.manual_seed(self.seed + SEED_STRIDE * number)
        network = build_network(self.config, self.task.graph.num_features, self.task.graph.num_classes)
        return _Member(network.to(self.observed.train.labels.device), self.config)


def _measure(network: GraphNetwork, observed: _Observed, epoch: int) -> EpochMetrics:
    val = observed.val
    logits = Ensemble((network,)).predict(observed.inputs).logits[val.nodes]
    return EpochMetrics(epoch, accuracy(logits, val.labels), float(F.cross_entropy(logits, val.labels)))
