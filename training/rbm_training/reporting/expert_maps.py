"""Where the experts of a layer stand among its inputs, in a plane.

Dimension letters: N observed nodes, R mapped rows, D layer input, E experts, C classes.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import TruncatedSVD

from rbm_training.data.sparse_rows import Matrix, as_array
from rbm_training.distillation.predictions import Predictions
from rbm_training.reporting.baselines import TrainedStudent
from rbm_training.reporting.report_data import LayerMap
from rbm_training.students.routing import LayerRouting

MAX_MAPPED_ROWS: Final = 1500

Array = npt.NDArray[Any]


def expert_maps(student: TrainedStudent, predictions: Predictions) -> tuple[LayerMap, ...]:
    """A map of each layer that compares its rows with something."""
    labels = student.data.inputs.labels.cpu().numpy()
    layers = student.distilled.student.expert_layers()
    pairs = enumerate(zip(layers, predictions.layers, strict=True))
    return tuple(
        _map(index, anchors.detach().cpu().numpy(), routing, labels)
        for index, (layer, routing) in pairs
        if (anchors := layer.anchors()) is not None
    )


def _map(index: int, anchors: Array, routing: LayerRouting, labels: Array) -> LayerMap:
    """The plane in which the layer's inputs, as routing compares them, spread the most."""
    keys = as_array(routing.query)
    experts = routing.experts[:, 0].cpu().numpy()
    generator = np.random.default_rng(0)
    labelled = np.flatnonzero(labels >= 0)
    rows = np.sort(generator.permutation(labelled)[:MAX_MAPPED_ROWS])
    center = np.asarray(keys[rows].mean(axis=0)).ravel()
    plane = TruncatedSVD(2, random_state=0).fit(_centered(keys[rows], center)).components_  # (2, D)
    share = np.zeros((routing.num_experts, int(labels.max()) + 1))
    np.add.at(share, (experts[labelled], labels[labelled]), 1)
    totals = share.sum(axis=1, keepdims=True)
    return LayerMap(
        layer=index,
        points=_centered(keys[rows], center) @ plane.T,
        memory=(anchors - center) @ plane.T,
        expert=experts[rows],
        label=labels[rows],
        class_shares=np.divide(share, totals, out=np.zeros_like(share), where=totals > 0),
    )


def _centered(rows: Matrix, center: Array) -> Array:
    dense = rows if isinstance(rows, np.ndarray) else rows.toarray()
    return np.asarray(dense - center)
