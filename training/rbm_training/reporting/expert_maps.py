"""Where the experts of a layer stand among its inputs, in a plane.

Dimension letters: N observed nodes, R mapped rows, D layer input, E experts, C classes.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from sklearn.decomposition import TruncatedSVD

from rbm_training.data.sparse_rows import Matrix, as_array
from rbm_training.distillation.predictions import Predictions
from rbm_training.reporting.baselines import TrainedStudent
from rbm_training.reporting.report_data import LayerMap
from rbm_training.students.expert_layer import ExpertLayer
from rbm_training.students.moe import MoELayer
from rbm_training.students.rbm.layer import RbMLayer
from rbm_training.students.routing import LayerRouting

MAX_MAPPED_ROWS: Final = 1500

Array = npt.NDArray[Any]


def expert_maps(student: TrainedStudent, predictions: Predictions) -> tuple[LayerMap, ...]:
    """A map of each layer of several experts."""
    labels = student.data.inputs.labels.cpu().numpy()
    layers = student.distilled.student.expert_layers()
    pairs = enumerate(zip(layers, predictions.layers, strict=True))
    return tuple(_map(index, *pair, labels) for index, pair in pairs if pair[0].num_experts > 1)


def _map(index: int, layer: ExpertLayer, routing: LayerRouting, labels: Array) -> LayerMap:
    """The plane in which the layer's inputs, as routing compares them, spread the most."""
    keys = as_array(routing.query)
    experts = routing.experts[:, 0].cpu().numpy()
    generator = np.random.default_rng(0)
    labelled = np.flatnonzero(labels >= 0)
    rows = np.sort(generator.permutation(labelled)[:MAX_MAPPED_ROWS])
    center = np.asarray(keys[rows].mean(axis=0)).ravel()
    plane = TruncatedSVD(2, random_state=0).fit(_centered(keys[rows], center)).components_  # (2, D)
    share = np.zeros((layer.num_experts, int(labels.max()) + 1))
    np.add.at(share, (experts[labelled], labels[labelled]), 1)
    totals = share.sum(axis=1, keepdims=True)
    return LayerMap(
        layer=index,
        points=_centered(keys[rows], center) @ plane.T,
        memory=(_anchors(layer) - center) @ plane.T,
        expert=experts[rows],
        label=labels[rows],
        class_shares=np.divide(share, totals, out=np.zeros_like(share), where=totals > 0),
    )


def _centered(rows: Matrix, center: Array) -> Array:
    dense = rows if isinstance(rows, np.ndarray) else rows.toarray()
    return np.asarray(dense - center)


@torch.no_grad()
def _anchors(layer: ExpertLayer) -> Array:
    """What a layer compares its keys with, (E, D)."""
    if isinstance(layer, RbMLayer):
        return np.asarray(layer.memory.cpu().numpy())
    assert isinstance(layer, MoELayer), "a layer of several experts has a memory or a router"
    prototypes = layer.prototypes / layer.prototypes.norm(dim=1, keepdim=True)
    return np.asarray(prototypes.cpu().numpy())
