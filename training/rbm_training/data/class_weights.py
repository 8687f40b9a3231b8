"""What a true label of each class weighs in a loss.

Dimension letter: C classes.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from rbm_training.data.graph import Floats, Graph, GraphError, Integers, Task
from rbm_training.errors import suggestion

Asked = Literal["none", "balanced"] | Mapping[str, float]


def weighted(task: Task, asked: Asked) -> Task:
    """The task with the weights of its classes, as `dataset.class_weights` asks for them.

    Raises:
        GraphError: a weight for a class that is not there.
    """
    if asked == "none":
        return task
    if asked == "balanced":
        return replace(task, class_weights=_balanced(task.graph, task.observed.labels[task.train]))
    return replace(task, class_weights=_by_name(task.graph, asked))


def _balanced(graph: Graph, train_labels: Integers) -> Floats:
    """Weights (C,) with which all classes count alike; 1 for a class without a training label."""
    weights = np.ones(graph.num_classes, np.float32)
    present = np.unique(train_labels)
    weights[present] = compute_class_weight("balanced", classes=present, y=train_labels)
    return weights


def _by_name(graph: Graph, asked: Mapping[str, float]) -> Floats:
    for name in asked:
        if name not in graph.class_names:
            raise GraphError(
                graph.name,
                f"dataset.class_weights for class {name!r}, which is none",
                f"one of {', '.join(graph.class_names)}{suggestion(name, graph.class_names)}",
            )
    return np.array([asked.get(name, 1.0) for name in graph.class_names], np.float32)
