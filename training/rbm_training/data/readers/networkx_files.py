"""Graphs that NetworkX wrote: GraphML, and node-link JSON. Attributes of nodes are columns of a table.

An attribute `label` is the class, `split` one of train, val and test; all others are features, as columns of
`nodes.parquet` are.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import networkx as nx
import pyarrow as pa

from rbm_training.data.dataset import Dataset
from rbm_training.data.graph import GraphError
from rbm_training.data.readers.graph_tables import graph_tables
from rbm_training.data.readers.parquet import dataset_of
from rbm_training.data.readers.split_column import SplitColumn
from rbm_training.data.readers.unreadable import unreadable, unreadable_text

GRAPHML: Final = "GraphML"


def load_graphml(path: Path, name: str, split_column: SplitColumn | None = None) -> Dataset:
    """Read and check a graph; its ids are strings.

    Raises:
        GraphError: the file is not GraphML, or an attribute is not what it should be.
    """
    return _dataset(path, name, lambda: nx.read_graphml(path), GRAPHML, split_column)


def load_node_link(path: Path, name: str, split_column: SplitColumn | None = None) -> Dataset:
    """Read and check a graph of `nodes` and `edges`, or `links`.

    Raises:
        GraphError: the file is not node-link JSON, or an attribute is not what it should be.
    """
    return _dataset(path, name, lambda: _node_link(path), "node-link JSON", split_column)


def _node_link(path: Path) -> nx.Graph:
    document = json.loads(path.read_bytes())
    if not isinstance(document, dict) or "nodes" not in document:
        raise nx.NetworkXError("no object with lists of nodes and edges")
    return nx.node_link_graph(document, edges="links" if "links" in document else "edges")


_KINDS: Final = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError)


def _dataset(
    path: Path, name: str, read: Callable[[], nx.Graph], kind: str, split_column: SplitColumn | None
) -> Dataset:
    wanted = f"{kind}, as NetworkX writes it"
    if not path.is_file():
        raise GraphError(str(path), "no file", wanted)
    try:
        graph = read()
    except Exception as error:  # the unit of work is this file; parsers fail in their own ways
        told = unreadable if kind == GRAPHML else unreadable_text  # XML says its encoding itself
        raise told(path, kind, wanted, f"{type(error).__name__}: {error}") from error
    ends = graph.edges(data=True)
    tables = {
        "nodes": _table(path, "nodes", {"node_id": list(graph)}, [it for _, it in graph.nodes(data=True)]),
        "edges": _table(
            path,
            "edges",
            {"source": [edge[0] for edge in ends], "target": [edge[1] for edge in ends]},
            [edge[2] for edge in ends],
        ),
    }
    sources = {table: f"{path}, {table}" for table in tables}
    without_labels = GraphError(str(path), "no attribute label of the nodes", "a class for some of them")
    return dataset_of(graph_tables(tables, sources, without_labels), name, split_column=split_column)


def _table(path: Path, what: str, ids: dict[str, list[Any]], attributes: list[dict[str, Any]]) -> pa.Table:
    """Ids, and each attribute that a node or an edge has, null where it is missing."""
    names = dict.fromkeys(str(key) for each in attributes for key in each)
    if taken := names.keys() & ids.keys():
        raise GraphError(f"{path}, {what}", f"an attribute {min(taken)}", "other names: that is the id's own")
    columns = ids | {key: [each.get(key) for each in attributes] for key in names}
    arrays = {}
    for column, values in columns.items():
        try:
            arrays[column] = pa.array(values)
        except (*_KINDS, OverflowError) as error:
            wanted = "values of one type: numbers, strings, or lists of numbers"
            raise GraphError(f"{path}, {what}", f"{column} of mixed types ({error})", wanted) from error
    if not attributes:
        return pa.table({column: pa.array([], pa.int64()) for column in ids})
    return pa.table(arrays)
