"""A small graph as columns, for the readers of tables."""

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

IDS = [30, 10, 20, 50, 40, 60]
TABLES = {
    "nodes": {"node_id": IDS, "height": [0.5, 1, 2, 3, 4, 5], "age": [7, 6, 5, 4, 3, 2]},
    "edges": {"source": [30, 10, 20, 50, 40, 60, 30], "target": [10, 20, 50, 40, 60, 30, 30]},
    "labels": {"node_id": [60, 30, 10, 20, 50], "label": ["no", "yes", "no", "yes", "no"]},
}


def named(column):
    """Ids as strings."""
    return [f"node {value}" for value in column]


def write_table(columns, path):
    """Write columns as the suffix of the path says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write = pa_csv.write_csv if path.suffix == ".csv" else pq.write_table
    write(columns if isinstance(columns, pa.Table) else pa.table(columns), path)


def write_tables(folder, suffix=".parquet", **changes):
    """The small good graph as tables; a change of None leaves the column, or the table, out."""
    folder.mkdir(exist_ok=True)
    for name, columns in TABLES.items():
        change = changes.get(name, {})
        if change is not None:
            kept = {key: value for key, value in (columns | change).items() if value is not None}
            write_table(kept, folder / f"{name}{suffix}")
    return folder
