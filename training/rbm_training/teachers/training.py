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
    unit_noise: bool = False,
) -> TeacherResult:
    """Train on the observed graph; select on validation; answer for observed and unseen nodes.

    Args:
        seed: of everything random here; torch's generator is set from it, once for each member.
        unit_noise: how the answers' steadiness is tested, see `entropy_shift`.
    """
    observed = _observe(task, scaling, device)
    teacher = Ensemble(
        tuple(_train_member(member, task, observed, config, seed, log) for member in range(config.members))
    )
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


def _train_member(
    member: int, task: Task, observed: _Observed, config: TeacherConfig, seed: int, log: RunLog
) -> GraphNetwork:
    torch.manual_seed(seed + SEED_STRIDE * member)
    network = build_network(config, task.graph.num_features, task.graph.num_classes)
    network = network.to(observed.train.labels.device)
    title = "teacher" if config.members == 1 else f"teacher {member + 1} of {config.members}"
    _fit(network, observed, config, log, title)
    return network


def _fit(network: GraphNetwork, observed: _Observed, config: TeacherConfig, log: RunLog, title: str) -> None:
    train = observed.train
    optimizer = torch.optim.Adam(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    early_stopping = EarlyStopping(config.patience)
    with log.stage(title, config.max_epochs) as stage:
        for epoch in range(config.max_epochs):
            network.train()
            optimizer.zero_grad()
            F.cross_entropy(network(observed.inputs).logits[train.nodes], train.labels).backward()
            optimizer.step()
            metrics = _measure(network, observed, epoch)
            early_stopping.observe(metrics, network)
            stage.advance(f"validation {metrics.val_accuracy:.3f}")
            if early_stopping.exhausted:
                break
    early_stopping.restore(network)


def _measure(network: GraphNetwork, observed: _Observed, epoch: int) -> EpochMetrics:
    val = observed.val
    logits = Ensemble((network,)).predict(observed.inputs).logits[val.nodes]
    return EpochMetrics(epoch, accuracy(logits, val.labels), float(F.cross_entropy(logits, val.labels)))
