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
from rbm_training.rows import Rows, column_deviation, rows_of
from rbm_training.run_log import RunLog
from rbm_training.scaling import InputScaling
from rbm_training.selection import EpochMetrics, Selection

NUM_NOISE_DRAWS = 4
NOISE_CHUNK_ROWS = 4096


class GraphSage(nn.Module):
    """Layers of z_v = W · mean(h_u : u ∈ N(v) ∪ {v}) + b, with ReLU and dropout between them.

    The mean is linear and its weights sum to 1, so W is applied before it: the same numbers at the width of
    the output instead of the input's.

    Shapes: x (N, F), dense or sparse, edge_index with self-loops (2, M + N) → logits (N, C).
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

    def forward(self, x: Rows, edge_index: Tensor, noise: Tensor | None = None) -> Tensor:
        """Logits of every node.

        Args:
            noise: what noise on x adds to the first product, (N, H).
        """
        first, *others = (linear for linear in self.linears if isinstance(linear, nn.Linear))
        product = x @ first.weight.T + first.bias
        hidden: Tensor = self.mean(product if noise is None else product + noise, edge_index)
        for linear in others:
            dropped = F.dropout(hidden.relu(), self.dropout, self.training)
            hidden = self.mean(linear(dropped), edge_index)
        return hidden


@dataclass(frozen=True, slots=True)
class TeacherResult:
    """What a teacher leaves: its answers, and how steady they are.

    Shapes: logits (N, C) of observed nodes, on the observed graph; unseen_logits (U, C) of unseen nodes,
    on the full graph; entropy_shift (N,), None when the teacher cannot be asked again.
    """

    logits: Tensor
    unseen_logits: Tensor
    entropy_shift: Tensor | None
    representations: Tensor | None = None


@dataclass(frozen=True, slots=True)
class _Inputs:
    features: Rows
    edges: Tensor


def train_teacher(
    task: Task,
    scaling: InputScaling,
    config: TeacherConfig,
    device: torch.device,
    log: RunLog,
    unit_noise: bool = False,
) -> TeacherResult:
    """Train on the observed graph; select on validation; answer for observed and unseen nodes.

    Args:
        unit_noise: test the answers' steadiness with one draw of noise of deviation 1 in every column, as
            the paper's released code does, instead of several of each column's own.
    """
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
        entropy_shift=_entropy_shift(model, observed, logits, unit_noise),
    )


def _inputs(graph: Graph, scaling: InputScaling, device: torch.device) -> _Inputs:
    features = rows_of(graph.features, device)
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
def _answer(model: GraphSage, inputs: _Inputs, noise: Tensor | None = None) -> Tensor:
    model.eval()
    logits: Tensor = model(inputs.features, inputs.edges, noise)
    return logits


def _entropy_shift(model: GraphSage, inputs: _Inputs, logits: Tensor, unit_noise: bool) -> Tensor:
    """|H(noisy) − H(clean)| of each node's answer, mean over draws of noise on the features (KRD, eq. 3)."""
    deviation = column_deviation(inputs.features)
    clean = _entropy(logits)
    shifts = []
    for _ in range(1 if unit_noise else NUM_NOISE_DRAWS):
        noise = _draw_noise(model, torch.ones_like(deviation) if unit_noise else deviation, len(logits))
        shifts.append((_entropy(_answer(model, inputs, noise)) - clean).abs())
    return torch.stack(shifts).mean(dim=0)


@torch.no_grad()
def _draw_noise(model: GraphSage, deviation: Tensor, num_nodes: int) -> Tensor:
    """ε W of the first layer, (N, H), for noise ε of each column's deviation.

    A chunk of rows at a time: noise is dense even where features are not.
    """
    weight = next(model.parameters())  # (H, F)
    products = [
        (deviation * torch.randn(len(chunk), len(deviation), device=deviation.device)) @ weight.T
        for chunk in torch.arange(num_nodes).split(NOISE_CHUNK_ROWS)
    ]
    return torch.cat(products)


def _entropy(logits: Tensor) -> Tensor:
    log_probabilities = logits.log_softmax(dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=1)
