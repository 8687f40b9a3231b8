"""Writes `tests/data/tiny_bundle`: a real bundle with random weights, so that service tests need no torch.

Run it from the repository root after the bundle format has changed: `python tests/data/make_tiny_bundle.py`.
"""

import shutil
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

from rbm_bundle.manifest import Metrics, Provenance
from rbm_training.export import ExportRequest, build_node_table, export_bundle
from rbm_training.graph import Graph
from rbm_training.scaling import InputScaling
from rbm_training.students.rbm import RbMStudent, build_student

FOLDER = Path(__file__).parent / "tiny_bundle"
N, F, P, C = 20, 12, 4, 3


def tiny_student() -> RbMStudent:
    torch.manual_seed(7)
    student = build_student(InputScaling(F, "l2", 0.5), [F + P, 8, C], 4, 2, dropout=0.0, input_gains=False)
    for layer in student.routed_layers():
        layer.start_routing(torch.randn_like(layer.memory))
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
    return student.eval()


def main() -> None:
    generator = np.random.default_rng(7)
    features = generator.random((N, F)).astype(np.float32)
    positions = generator.standard_normal((N, P)).astype(np.float32)
    ids = np.arange(100, 100 + 5 * N, 5)
    classes = ("red", "green", "blue")
    graph = Graph("tiny", sp.csr_array((N, N)), features, np.zeros(N, np.int64), ids, classes)
    request = ExportRequest(
        name="tiny",
        student=tiny_student(),
        nodes=build_node_table(graph, positions, cache_features=True),
        features=features,
        positions=positions,
        labels=classes,
        metrics=Metrics(
            val_accuracy=1 / 3,
            test_accuracy=1 / 3,
            test_accuracy_std=None,
            teacher_test_accuracy=1 / 3,
            unseen_accuracy=None,
            teacher_unseen_accuracy=None,
            calibration_error=0.0,
            num_runs=1,
        ),
        provenance=Provenance(
            git_commit=None,
            dataset="tiny",
            dataset_sha256="0" * 63 + "7",
            setting="transductive",
            seed=7,
            config={},
            versions={},
        ),
    )
    shutil.rmtree(FOLDER, ignore_errors=True)
    export_bundle(FOLDER, request)


if __name__ == "__main__":
    main()
