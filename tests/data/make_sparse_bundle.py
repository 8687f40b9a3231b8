"""Writes `tests/data/sparse_bundle`: a real bundle with random weights over a bag of words.

Run it from the repository root after the bundle format has changed:
`python -m tests.data.make_sparse_bundle`.
"""

import shutil
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from rbm_training.data.graph import Graph
from tests.untrained import random_student, write_untrained

FOLDER = Path(__file__).parent / "sparse_bundle"
N, F, P, C = 24, 200, 4, 3
LONGEST = 40


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
    graph = Graph(
        "sparse",
        sp.csr_array((N, N)),
        features,
        np.zeros(N, np.int64),
        np.arange(N),
        ("red", "green", "blue"),
    )
    shutil.rmtree(FOLDER, ignore_errors=True)
    write_untrained(FOLDER, random_student(F, [F + P, 8, C], seed=8), graph, positions)


if __name__ == "__main__":
    main()
