"""The three tables of a graph, where one of them may be made of the others: nodes that only edges and labels
name, and labels that are columns of the nodes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from rbm_training.data.graph import GraphError
from rbm_training.data.readers.table_files import find_tables, read_tables, without_index
from rbm_training.data.readers.tables import ParquetTable


@dataclass(frozen=True, slots=True)
class GraphTables:
    """The tables of a graph, and what is not read of them."""

    nodes: ParquetTable
    edges: ParquetTable
    labels: ParquetTable
    unused: tuple[str, ...] = ()


def open_tables(folder: Path) -> GraphTables:
    """The tables in a folder.

    Raises:
        GraphError: a table is missing, unknown, twice there or damaged.
    """
    paths = find_tables(folder)
    if "edges" not in paths:
        wanted = "edges.parquet, edges.csv or a folder of part files, with columns source and target"
        raise GraphError(str(folder / "edges.parquet"), "no file", wanted)
    sources = {name: str(path) for name, path in paths.items()}
    wanted = "labels.parquet or labels.csv with columns node_id and label, or a column label of the nodes"
    without_labels = GraphError(str(folder / "labels.parquet"), "no file", wanted)
    return graph_tables(read_tables(paths), sources, without_labels)


def graph_tables(
    tables: Mapping[str, pa.Table], sources: Mapping[str, str], without_labels: GraphError
) -> GraphTables:
    """Tables that checks can name.

    Args:
        sources: where each of them was read.
        without_labels: what is wrong where there are no labels.

    Raises:
        GraphError: there are no labels.
    """
    checked, unused = {}, []
    for name, table in tables.items():
        rest, index = without_index(table)
        checked[name] = ParquetTable(sources[name], rest)
        place = Path(sources[name]).name
        unused += [
            f"{place}: column {column!r}: unnamed, as the index of a data frame is" for column in index
        ]
    edges, nodes, labels = checked["edges"], checked.get("nodes"), checked.get("labels")
    if labels is None:
        if nodes is None or "label" not in nodes.names:
            raise without_labels
        labels = nodes.with_columns("node_id", "label", "split")
        nodes = nodes.with_columns(*nodes.unlisted("label", "split"))
    return GraphTables(nodes or _nodes_of(edges, labels), edges, labels, tuple(unused))


def _nodes_of(edges: ParquetTable, labels: ParquetTable) -> ParquetTable:
    """All nodes that edges and labels name, in rising order of their ids."""
    ids = edges.discrete("source")
    for table, column in ((edges, "target"), (labels, "node_id")):
        more = table.discrete(column)
        if more.dtype.kind != ids.dtype.kind:
            found, wanted = ("strings", "integers") if ids.dtype.kind == "i" else ("integers", "strings")
            raise GraphError(table.source, f"{column} of {found}", f"{wanted}, as column source of the edges")
        ids = np.union1d(ids, more)
    return ParquetTable(edges.source, pa.table({"node_id": ids}))
