"""What the student sees of a task: features, positions and labels, laid out on one device.

Dimension letters: N observed nodes, U unseen nodes, F features, P position width.
"""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from rbm_training.graph import Floats, Task
from rbm_training.rows import Rows, rows_of


@dataclass(frozen=True, slots=True)
class StudentInputs:
    """What the student sees, on one device.

    Shapes: features (N, F), dense or sparse, positions (N, P), labels (N,); train, val and test index rows;
    the unseen_* hold the U unseen nodes.
    """

    features: Rows
    positions: Tensor
    labels: Tensor
    train: Tensor
    val: Tensor
    test: Tensor
    unseen_features: Rows
    unseen_positions: Tensor
    unseen_labels: Tensor

    @property
    def test_labels(self) -> Tensor:
        """Labels of the setting's test nodes: the unseen ones where there are any."""
        return self.test_rows(self.labels, self.unseen_labels)

    def test_rows(self, observed: Tensor, unseen: Tensor) -> Tensor:
        """Of something said of the N observed and of the U unseen nodes, what was said of the test nodes."""
        return unseen if len(self.unseen_labels) else observed[self.test]


def student_inputs(
    task: Task, positions: Floats, unseen_positions: Floats, device: torch.device
) -> StudentInputs:
    """Lay a task and its positions out for the student."""
    graph, observed, unseen = task.graph, task.observed_nodes, task.unseen

    def tensor(array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(device)

    return StudentInputs(
        features=rows_of(graph.features[observed], device),
        positions=tensor(positions),
        labels=tensor(graph.labels[observed]),
        train=tensor(task.train),
        val=tensor(task.val),
        test=tensor(task.test),
        unseen_features=rows_of(graph.features[unseen], device),
        unseen_positions=tensor(unseen_positions),
        unseen_labels=tensor(graph.labels[unseen]),
    )
