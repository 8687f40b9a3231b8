"""A student of production size with random weights, and a bundle of it whose nodes have cached features."""

import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import scipy.sparse as sp

from rbm_bundle import Bundle, ModelRepository, read_bundle
from rbm_training.data.graph import Graph
from rbm_training.students.student import Student
from tests.untrained import random_student, write_untrained

NUM_FEATURES, POSITION_WIDTH, HIDDEN, NUM_CLASSES = 100, 64, 256, 47
NUM_EXPERTS: Final = 8
NUM_NODES: Final = 50_000


def production_student() -> Student:
    """Two layers of eight experts, two of them a row: 100 features and 64 position columns to 47 classes."""
    widths = [NUM_FEATURES + POSITION_WIDTH, HIDDEN, NUM_CLASSES]
    return random_student(NUM_FEATURES, widths, seed=0, weight_std=0.05, num_experts=NUM_EXPERTS)


def write_production_bundle(folder: Path) -> Bundle:
    """The bundle of that student over nodes 0 to 49,999."""
    generator = np.random.default_rng(0)
    features = generator.standard_normal((NUM_NODES, NUM_FEATURES), np.float32)
    positions = generator.standard_normal((NUM_NODES, POSITION_WIDTH), np.float32)
    labels = tuple(f"class {index}" for index in range(NUM_CLASSES))
    nodes = np.arange(NUM_NODES)
    graph = Graph(
        "production", sp.csr_array((NUM_NODES, NUM_NODES)), features, np.zeros_like(nodes), nodes, labels
    )
    return write_untrained(folder, production_student(), graph, positions)


def publish_production_model(models_dir: Path) -> Bundle:
    """That bundle in a repository, promoted; as it lies there."""
    repository = ModelRepository(models_dir)
    with tempfile.TemporaryDirectory() as folder:
        version = repository.publish(write_production_bundle(Path(folder) / "bundle").path)
    repository.promote("production", version)
    return read_bundle(repository.path_of("production", version))
