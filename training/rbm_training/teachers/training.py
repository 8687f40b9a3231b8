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
from rbm_training.evaluation.early_stopping import EpochMetrics, Selection
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
    observed = graph_inputs(task.observed, scaling, device)
    full = observed if task.observed is task.graph else graph_inputs(task.graph, scaling, device)
    groups = _label(task, observed, full)
    teacher = Ensemble(
        tuple(_train_member(member, task, groups, config, seed, log) for member in range(config.members))
    )
    # A seed that no member has: weights and noise of one stream would be correlated.
    generator = torch.Generator(device).manual_seed(seed + SEED_STRIDE * config.members)
    answer = teacher.answer(observed)
    return TeacherResult(
        logits=answer.logits,
        unseen_logits=teacher.answer(full).logits[torch.from_numpy(task.unseen).to(device)],
        entropy_shift=entropy_shift(teacher, observed, generator, unit_noise),
        representations=answer.representations,
    )


@dataclass(frozen=True, slots=True)
class _Labelled:
    """Some nodes of a graph, and their labels: each (number of nodes,)."""

    inputs: GraphInputs
    nodes: Tensor
    labels: Tensor


@dataclass(frozen=True, slots=True)
class _Groups:
    """Learnt from, selected on, and told: train and val are observed, test lies where the setting has it."""

    train: _Labelled
    val: _Labelled
    test: _Labelled


def _label(task: Task, observed: GraphInputs, full: GraphInputs) -> _Groups:
    def some(inputs: GraphInputs, nodes: Integers, labels: Integers) -> _Labelled:
        device = inputs.edges.sources.device
        return _Labelled(
            inputs, torch.from_numpy(nodes).to(device), torch.from_numpy(labels[nodes]).to(device)
        )

    train, val = (some(observed, nodes, task.observed.labels) for nodes in (task.train, task.val))
    if task.setting == "inductive":
        return _Groups(train, val, some(full, task.unseen, task.graph.labels))
    return _Groups(train, val, some(observed, task.test, task.observed.labels))


def _train_member(
    member: int, task: Task, groups: _Groups, config: TeacherConfig, seed: int, log: RunLog
) -> GraphNetwork:
    torch.manual_seed(seed + SEED_STRIDE * member)
    network = build_network(config, task.graph.num_features, task.graph.num_classes)
    network = network.to(groups.train.labels.device)
    title = "teacher" if config.members == 1 else f"teacher {member + 1} of {config.members}"
    _fit(network, groups, config, log, title)
    return network


def _fit(network: GraphNetwork, groups: _Groups, config: TeacherConfig, log: RunLog, title: str) -> None:
    train = groups.train
    optimizer = torch.optim.Adam(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    selection = Selection(config.patience)
    with log.stage(title, config.max_epochs) as stage:
        for epoch in range(config.max_epochs):
            network.train()
            optimizer.zero_grad()
            F.cross_entropy(network(train.inputs).logits[train.nodes], train.labels).backward()
            optimizer.step()
            metrics = _measure(network, groups, epoch)
            selection.observe(metrics, network)
            stage.advance(f"validation {metrics.val_accuracy:.3f}")
            if selection.exhausted:
                break
    selection.restore(network)


def _measure(network: GraphNetwork, groups: _Groups, epoch: int) -> EpochMetrics:
    val, test = groups.val, groups.test
    alone = Ensemble((network,))
    logits = alone.answer(val.inputs).logits
    test_logits = logits if test.inputs is val.inputs else alone.answer(test.inputs).logits
    return EpochMetrics(
        epoch,
        val_accuracy=accuracy(logits[val.nodes], val.labels),
        val_loss=float(F.cross_entropy(logits[val.nodes], val.labels)),
        test_accuracy=accuracy(test_logits[test.nodes], test.labels),
    )
