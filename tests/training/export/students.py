"""Students whose every weight is random, rows for them with what float64 says, and a graph of such rows."""

import numpy as np
import scipy.sparse as sp
import torch

from rbm_bundle.golden import GoldenRows
from rbm_training.data.graph import Graph
from rbm_training.export.graphs import build_graph
from rbm_training.export.parity import open_session, reference_rows
from rbm_training.onnx.layers import Form
from rbm_training.students.student import Student
from tests.untrained import random_student

FORMS: tuple[Form, ...] = ("grouped", "dense")
N, F, P = 30, 6, 4


def random_weights(
    widths: tuple[int, ...] = (8, 3), num_features: int = F, position_width: int = P, seed: int = 0, **shape
) -> Student:
    """Scales, gains and temperature are random too; gains only where `input_gains` says so."""
    student = random_student(num_features, [num_features + position_width, *widths], seed, **shape)
    for layer in student.expert_layers():
        for parameter in (layer.log_scale, layer.log_gain):
            if parameter is not None:
                torch.nn.init.normal_(parameter, std=0.2)
    student.temperature.fill_(1.7)
    return student


def graph_of(node_ids, features=None) -> Graph:
    """A graph of N nodes without edges, by default with random features (N, F)."""
    generator = np.random.default_rng(0)
    dense = generator.standard_normal((N, F)).astype(np.float32)
    names = ("a", "b", "c")
    labels = np.zeros(N, np.int64)
    return Graph(
        "toy", sp.csr_array((N, N)), dense if features is None else features, labels, node_ids, names
    )


def rows_of(student, features, positions, kind="dense") -> GoldenRows:
    features = np.asarray(features, np.float32)
    features = sp.csr_array(features) if kind == "sparse" else features
    return reference_rows(student, features, np.asarray(positions, np.float32))


def random_rows(student, num_rows, kind="dense", seed=0) -> GoldenRows:
    """Every tenth row has no features, every fifteenth no position, so every thirtieth is all zero."""
    generator = np.random.default_rng(seed)
    features = 3 * generator.standard_normal((num_rows, student.num_features))
    positions = generator.standard_normal((num_rows, student.position_width))
    if kind == "sparse":
        features[generator.random(features.shape) < 0.6] = 0
    features[9::10] = 0
    positions[14::15] = 0
    return rows_of(student, features, positions, kind)


def sessions_of(student, kind="dense"):
    return {form: open_session(build_graph(student, form, kind)) for form in FORMS}
