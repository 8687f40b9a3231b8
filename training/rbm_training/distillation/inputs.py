"""What the student sees of a task: features, positions and labels, laid out on one device.

Dimension letters: N observed nodes, U nodes of a group that is held out, F features, P position width.
"""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from rbm_bundle.manifest_parts import Setting
from rbm_training.data.graph import Floats, Integers, Task
from rbm_training.data.scaling import InputScaling
from rbm_training.data.sparse_rows import Rows, rows_of, to_multiply


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Nodes that are in no graph the student learns from; their positions are inferred from neighbours.

    Shapes: features (U, F), dense or sparse, positions (U, P), both side by side and scaled (U, F + P),
    labels (U,).
    """

    features: Rows
    positions: Tensor
    scaled: Rows
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class StudentInputs:
    """What the student sees, on one device.

    Shapes: features (N, F), dense or sparse; features and positions side by side and scaled (N, F + P);
    labels (N,); train, val and test index rows; class_weights (C,) of true labels, None where all count
    alike.
    """

    features: Rows
    scaled: Rows
    labels: Tensor
    train: Tensor
    val: Tensor
    test: Tensor
    unseen: HeldOut
    pseudo_unseen: HeldOut
    class_weights: Tensor | None

    @property
    def setting(self) -> Setting:
        """Inductive when nodes are held out."""
        return "inductive" if len(self.unseen) else "transductive"

    @property
    def training_share(self) -> float:
        """Share of the observed nodes that is learnt from."""
        return len(self.train) / len(self.labels)

    @property
    def labelled(self) -> Tensor:
        """Which observed nodes have a label to learn from or to select by, (N,)."""
        marks = torch.zeros_like(self.labels, dtype=torch.bool)
        marks[self.train] = marks[self.val] = True
        return marks

    @property
    def total_label_weight(self) -> float | Tensor:
        """What all training labels weigh together."""
        if self.class_weights is None:
            return len(self.train)
        return self.class_weights[self.labels[self.train]].sum()

    @property
    def test_labels(self) -> Tensor:
        """Labels of the setting's test nodes: the unseen ones where there are any."""
        return self.test_rows(self.labels, self.unseen.labels)

    def test_rows(self, observed: Tensor, unseen: Tensor) -> Tensor:
        """Of something said of the N observed and of the U unseen nodes, what was said of the test nodes."""
        return unseen if len(self.unseen) else observed[self.test]


@torch.no_grad()
def student_inputs(
    task: Task, scaling: InputScaling, positions: Floats, unseen: Floats, pseudo_unseen: Floats
) -> StudentInputs:
    """Lay a task and the positions of observed, unseen and pseudo-unseen nodes out for the student, on the
    device of the scaling."""
    graph, observed, device = task.graph, task.observed_nodes, scaling.mean.device

    def tensor(array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(device)

    def held_out(nodes: Integers, inferred: Floats) -> HeldOut:
        features, places = rows_of(graph.features[nodes], device), tensor(inferred)
        return HeldOut(features, places, scaling(features, places), tensor(graph.labels[nodes]))

    features = rows_of(graph.features[observed], device)
    return StudentInputs(
        features=features,
        scaled=to_multiply(scaling(features, tensor(positions))),
        labels=tensor(graph.labels[observed]),
        train=tensor(task.train),
        val=tensor(task.val),
        test=tensor(task.test),
        unseen=held_out(task.unseen, unseen),
        pseudo_unseen=held_out(task.pseudo_unseen, pseudo_unseen),
        class_weights=None if task.class_weights is None else tensor(task.class_weights),
    )
