"""Where the experts of a layer stand among its inputs, in a plane.

Dimension letters: N observed nodes, R mapped rows, D layer input, E experts, C classes.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from rbm_training.data.sparse_rows import Matrix, as_array
from rbm_training.distillation.predictions import Predictions, predict
from rbm_training.export.plane import principal_plane
from rbm_training.reporting.baselines import TrainedStudent
from rbm_training.reporting.report_data import LayerMap
from rbm_training.students.routing import LayerChoices

MAX_MAPPED_ROWS: Final = 1500

Array = npt.NDArray[Any]


def expert_maps(student: TrainedStudent, predictions: Predictions) -> tuple[LayerMap, ...]:
    """A map of each layer that compares its rows with something, on a sample of the labelled nodes."""
    inputs, model = student.data.inputs, student.distilled.student
    labels = inputs.labels.cpu().numpy()
    rows = np.sort(np.random.default_rng(0).permutation(np.flatnonzero(labels >= 0))[:MAX_MAPPED_ROWS])
    sampled = predict(model, inputs.scaled[torch.from_numpy(rows).to(model.device)]).layers
    layers = enumerate(zip(model.routing_layers(), predictions.choices, sampled, strict=True))
    return tuple(
        _map(index, anchors.detach().cpu().numpy(), choices, as_array(routing.query), rows, labels)
        for index, (layer, choices, routing) in layers
        if (anchors := layer.anchors()) is not None
    )


def _map(
    index: int, anchors: Array, choices: LayerChoices, keys: Matrix, rows: Array, labels: Array
) -> LayerMap:
    """The plane in which the layer's inputs at some rows, as routing compares them, spread the most: anchors
    (E, D), keys (R, D), rows (R,) among labels (N,)."""
    experts = choices.experts[:, 0].cpu().numpy()
    labelled = np.flatnonzero(labels >= 0)
    plane = principal_plane(keys)
    share = np.zeros((choices.num_experts, int(labels.max()) + 1))
    np.add.at(share, (experts[labelled], labels[labelled]), 1)
    totals = share.sum(axis=1, keepdims=True)
    return LayerMap(
        layer=index,
        points=plane.project(keys),
        memory=plane.project(anchors),
        expert=experts[rows],
        label=labels[rows],
        class_shares=np.divide(share, totals, out=np.zeros_like(share), where=totals > 0),
    )
