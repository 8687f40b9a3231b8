"""Writes `tests/data/tiny_bundle`: a real bundle with random weights, so that service tests need no torch.

Run it from the repository root after the bundle format has changed: `python -m tests.data.make_tiny_bundle`.
"""

import shutil
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from rbm_training.data.graph import Graph
from tests.untrained import random_student, write_untrained

FOLDER = Path(__file__).parent / "tiny_bundle"
N, F, P, C = 20, 12, 4, 3


def main() -> None:
    generator = np.random.default_rng(7)
    features = generator.random((N, F)).astype(np.float32)
    positions = generator.standard_normal((N, P)).astype(np.float32)
    ids = np.arange(100, 100 + 5 * N, 5)
    graph = Graph(
        "tiny", sp.csr_array((N, N)), features, np.zeros(N, np.int64), ids, ("red", "green", "blue")
    )
    shutil.rmtree(FOLDER, ignore_errors=True)
    write_untrained(FOLDER, random_student(F, [F + P, 8, C], seed=7), graph, positions)


if __name__ == "__main__":
    main()
