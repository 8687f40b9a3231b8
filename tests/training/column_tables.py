"""A small graph whose nodes have columns of every kind, with gaps, as tables on disk."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.training.objects import SMALL_EXPERIMENT

WORDS = {"art": ["Über", "straße", "painting"], "bio": ["数据", "cell", "graph"]}
MIXED_EXPERIMENT = (
    SMALL_EXPERIMENT.replace('kind = "synthetic"', 'kind = "files"\npath = "{path}"')
    + """
[export]
refit = false # what is measured is then what is served
"""
)


def mixed_columns(num_nodes: int, seed: int = 0) -> dict[str, object]:
    """Columns of every kind that tell the two classes apart, each with a few values missing."""
    generator = np.random.default_rng(seed)
    labels = ["art", "bio"] * (num_nodes // 2)

    def with_gaps(values):
        return [None if generator.random() < 0.1 else value for value in values]

    def words(label, num):
        return generator.choice([*WORDS[label], "and", "of"], num).tolist()

    return {
        "year": with_gaps([int(generator.integers(1990, 2000) + 20 * (label == "bio")) for label in labels]),
        "price": pa.array(with_gaps([f"{generator.random() * 100:.2f}" for _ in labels])).cast(
            pa.decimal128(8, 2)
        ),
        "open": with_gaps((generator.random(num_nodes) < 0.5).tolist()),
        "section": pa.array(
            with_gaps(generator.choice(["a", "b", "c"], num_nodes).tolist())
        ).dictionary_encode(),
        "title": with_gaps([f"{' '.join(words(label, 5))} no. {i}" for i, label in enumerate(labels)]),
        "tags": with_gaps([words(label, 2) for label in labels]),
        "when": with_gaps(
            [datetime(2020, 1, 1) + timedelta(hours=int(generator.integers(50_000))) for _ in labels]
        ),
    }


def write_mixed(folder: Path, num_nodes: int = 80, **changes: object) -> Path:
    """The three tables; a column of None is left out."""
    folder.mkdir()
    generator = np.random.default_rng(1)
    ids = [f"n{index}" for index in range(num_nodes)]
    columns = {"node_id": ids, **mixed_columns(num_nodes), **changes}
    tables = {
        "nodes": {name: column for name, column in columns.items() if column is not None},
        "edges": {
            "source": ids,
            "target": [ids[(i + 2 * generator.integers(1, 9)) % num_nodes] for i in range(num_nodes)],
        },
        "labels": {"node_id": ids, "label": ["art", "bio"] * (num_nodes // 2)},
    }
    for name, table in tables.items():
        pq.write_table(pa.table(table), folder / f"{name}.parquet")
    return folder
