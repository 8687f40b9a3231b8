"""Writes `tests/data/records_bundle`: a real bundle with random weights that takes raw records.

Run it from the repository root after the bundle format has changed:
`python -m tests.data.make_records_bundle`.
"""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from rbm_training.config import FeaturesConfig
from rbm_training.data.column_features import fit_columns
from rbm_training.data.columns import raw_columns
from rbm_training.data.graph import Graph
from rbm_training.export.records_graph import build_records_part
from tests.training.column_tables import mixed_columns
from tests.untrained import random_student, write_untrained

FOLDER = Path(__file__).parent / "records_bundle"
N, P, C = 24, 4, 2


def main() -> None:
    nodes = np.arange(N)
    raw = raw_columns("nodes", pa.table(mixed_columns(N)), FeaturesConfig())
    fitted = fit_columns(raw, nodes)
    features = fitted.features.toarray()
    F = features.shape[1]
    positions = np.random.default_rng(8).standard_normal((N, P)).astype(np.float32)
    graph = Graph("records", sp.csr_array((N, N)), features, np.zeros(N, np.int64), nodes, ("art", "bio"))
    shutil.rmtree(FOLDER, ignore_errors=True)
    student = random_student(F, [F + P, 8, C], seed=8)
    write_untrained(FOLDER, student, graph, positions, build_records_part(raw, fitted, nodes, seed=8))


if __name__ == "__main__":
    main()
