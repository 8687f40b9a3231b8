"""The teacher: GraphSAGE with the "gcn" aggregator (Hamilton, Ying & Leskovec, NeurIPS 2017, eq. 2).

Dimension letters: N nodes, M edges, F features, H hidden, C classes.
"""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import SimpleConv
from torch_geometric.utils import add_self_loops

from rbm_training.config import TeacherConfig
from rbm_training.evaluate import accuracy
from rbm_training.graph import Graph, Task
from rbm_training.run_log import RunLog
from rbm_training.scaling import InputScaling
from rbm_training.selection import EpochMetrics, Selection

NUM_NOISE_DRAWS = 4


class GraphSage(nn.Module):
    """Layers of z_v = W · mean(h_u : u ∈ N(v) ∪ {v}) + b, with ReLU and dropout between them.

    The mean is linear and its weights sum to 1, so W is applied before it: the same numbers at the width of
    the output instead of the input's.

    Shapes: x (N, F), edge_index with self-loops (2, M + N) → logits (N, C).
    """

    def __init__(self, widths: list[int], dropout: float) -> None:
        super().__init__()
        linears = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
        self.linears = nn.ModuleList(linears)
        self.mean = SimpleConv(aggr="mean")
        self.dropout = dropout
        for linear in linears:
            nn.init.xavier_uniform_(linear.weight, gain=nn.init.calculate_gain("relu"))
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Logits of every node."""
        for index, linear in enumerate(self.linears):
            if index:
                x = F.dropout(x.relu(), self.dropout, self.training)
            x = self.mean(linear(x), edge_index)
        return x


@dataclass(frozen=True, slots=True)
class TeacherResult:
    """What a teacher leaves: its answers, and how steady they are.

    Shapes: logits (N, C) of observed nodes, on the observed graph; unseen_logits (U, C) of unseen nodes,
    on the full graph; entropy_shift (N,), None when the teacher cannot be asked again.
    """

    logits: Tensor
    unseen_logits: Tensor
    entropy_shift: Tensor | None


@dataclass(frozen=True, slots=True)
class _Inputs:
    features: Tensor
    edges: Tensor


def train_teacher(
    task: Task, scaling: InputScaling, config: TeacherConfig, device: torch.device, log: RunLog
) -> TeacherResult:
    """Train on the observed graph; select on validation; answer for observed and unseen nodes."""
    observed = _inputs(task.observed, scaling, device)
    full = observed if task.observed is task.graph else _inputs(task.graph, scaling, device)
    hidden = [config.hidden] * (config.num_layers - 1)
    widths = [task.graph.num_features, *hidden, task.graph.num_classes]
    model = GraphSage(widths, config.dropout).to(device)
    _fit(model, task, observed, full, config, log)
    logits, full_logits = _answer(model, observed), _answer(model, full)
    return TeacherResult(
        logits=logits,
        unseen_logits=full_logits[torch.from_numpy(task.unseen).to(device)],
        entropy_shift=_entropy_shift(model, observed, logits),
    )


def _inputs(graph: Graph, scaling: InputScaling, device: torch.device) -> _Inputs:
    features = torch.from_numpy(graph.dense_features()).to(device)
    edges, _ = add_self_loops(torch.from_numpy(graph.edge_index).to(device), num_nodes=graph.num_nodes)
    return _Inputs(scaling.scale_features(features), edges)


def _fit(
    model: GraphSage, task: Task, observed: _Inputs, full: _Inputs, config: TeacherConfig, log: RunLog
) -> None:
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    train, val = (torch.from_numpy(rows).to(observed.edges.device) for rows in (task.train, task.val))
    labels = torch.from_numpy(task.observed.labels).to(train.device)
    selection = Selection(config.patience)
    with log.stage("teacher", config.max_epochs) as stage:
        for epoch in range(config.max_epochs):
            model.train()
            optimizer.zero_grad()
            F.cross_entropy(model(observed.features, observed.edges)[train], labels[train]).backward()
            optimizer.step()
            logits = _answer(model, observed)
            metrics = EpochMetrics(
                epoch,
                val_accuracy=accuracy(logits[val], labels[val]),
                val_loss=float(F.cross_entropy(logits[val], labels[val])),
                test_accuracy=_test_accuracy(model, task, logits, full),
            )
            selection.observe(metrics, model)
            stage.advance(f"validation {metrics.val_accuracy:.3f}")
            if selection.exhausted:
                break
    selection.restore(model)


def _test_accuracy(model: GraphSage, task: Task, logits: Tensor, full: _Inputs) -> float:
    if task.setting == "transductive":
        rows, labels = task.test, task.observed.labels[task.test]
    else:
        rows, labels = task.unseen, task.graph.labels[task.unseen]
        logits = _answer(model, full)
    return accuracy(
        logits[torch.from_numpy(rows).to(logits.device)], torch.from_numpy(labels).to(logits.device)
    )


@torch.no_grad()
def _answer(model: GraphSage, inputs: _Inputs) -> Tensor:
    model.eval()
    logits: Tensor = model(inputs.features, inputs.edges)
    return logits.detach()


def _entropy_shift(model: GraphSage, inputs: _Inputs, logits: Tensor) -> Tensor:
    """|H(noisy) − H(clean)| of each node's answer, mean over draws of column-scaled noise (KRD, eq. 3)."""
    deviation = inputs.features.std(dim=0, correction=0)
    clean = _entropy(logits)
    shifts = []
    for _ in range(NUM_NOISE_DRAWS):
        noisy = inputs.features + deviation * torch.randn_like(inputs.features)
        shifts.append((_entropy(_answer(model, _Inputs(noisy, inputs.edges))) - clean).abs())
    return torch.stack(shifts).mean(dim=0)


def _entropy(logits: Tensor) -> Tensor:
    log_probabilities = logits.log_softmax(dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=1)
