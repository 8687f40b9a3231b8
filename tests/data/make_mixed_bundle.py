"""Writes `tests/data/mixed_bundle`: a plain layer and, behind a learnt router, a mixture; random weights.

Run it from the repository root after the bundle format has changed:
`python -m tests.data.make_mixed_bundle`.
"""

import shutil
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from rbm_training.data.graph import Graph
from tests.untrained import random_student, write_untrained

FOLDER = Path(__file__).parent / "mixed_bundle"
N, F, P, C = 20, 12, 4, 3


def main() -> None:
    generator = np.random.default_rng(9)
    graph = Graph(
        "mixed",
        sp.csr_array((N, N)),
        generator.random((N, F)).astype(np.float32),
        np.zeros(N, np.int64),
        np.arange(N),
        ("red", "green", "blue"),
    )
    student = random_student(
        F, [F + P, 8, C], seed=9, kind="moe", num_experts=(1, 4), router_top_k="k_plus_1", hidden=8
    )
    positions = generator.standard_normal((N, P)).astype(np.float32)
    shutil.rmtree(FOLDER, ignore_errors=True)
    write_untrained(FOLDER, student, graph, positions)


if __name__ == "__main__":
    main()
