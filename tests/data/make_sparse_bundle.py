"""Writes `tests/data/sparse_bundle`: a real bundle with random weights over a bag of words.

Run it from the repository root after the bundle format has changed:
`python tests/data/make_sparse_bundle.py`.
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

FOLDER = Path(__file__).parent / "sparse_bundle"
N, F, P, C = 24, 200, 4, 3
LONGEST = 40


def random_student() -> RbMStudent:
    torch.manual_seed(8)
    student = build_student(InputScaling(F, "l2", 0.5), [F + P, 8, C], 4, 2, dropout=0.0, input_gains=False)
    for layer in student.routed_layers():
        layer.start_routing(torch.randn_like(layer.memory))
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
    return student.eval()


def random_words(generator: np.random.Generator) -> sp.csr_array:
    """Rows of 0, LONGEST and a few words."""
    counts = [0, LONGEST, *generator.integers(1, 12, N - 2)]
    features = np.zeros((N, F), np.float32)
    for row, count in enumerate(counts):
        features[row, generator.choice(F, count, replace=False)] = generator.integers(1, 4, count)
    return sp.csr_array(features)


def main() -> None:
    generator = np.random.default_rng(8)
    features = random_words(generator)
    positions = generator.standard_normal((N, P)).astype(np.float32)
    classes = ("red", "green", "blue")
    graph = Graph("sparse", sp.csr_array((N, N)), features, np.zeros(N, np.int64), np.arange(N), classes)
    request = ExportRequest(
        name="sparse",
        student=random_student(),
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
            dataset="sparse",
            dataset_sha256="0" * 63 + "8",
            setting="transductive",
            seed=8,
            config={},
            versions={},
        ),
    )
    shutil.rmtree(FOLDER, ignore_errors=True)
    export_bundle(FOLDER, request)


if __name__ == "__main__":
    main()
