"""ogbn-arxiv and ogbn-products (Hu et al., "Open Graph Benchmark", NeurIPS 2020), from the files of OGB.

The folder is the one that OGB's archive unpacks to: `raw/*.csv.gz`, `split/<kind>/*.csv.gz`, `mapping/`.
Numbers are parsed to 32 bits at once: ogbn-products has 62 million edges and 245 million features.
"""

import gzip
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from rbm_training.data.checks import check_labels, check_nodes, check_numbers, check_shape
from rbm_training.data.dataset import Dataset
from rbm_training.data.edges import undirected
from rbm_training.data.graph import Graph, GraphError
from rbm_training.data.splits import PublishedSplit

_ROLES: Final = ("train", "valid", "test")


def read_arxiv(folder: Path, name: str) -> Dataset:
    """Read ogbn-arxiv, split by time.

    Raises:
        GraphError: a file is missing or malformed.
    """
    mapping = folder / "mapping" / "labelidx2arxivcategeory.csv.gz"  # spelt so by OGB
    class_names = _class_names(mapping) if mapping.is_file() else None
    graph = _read_graph(folder / "raw", name, class_names)
    return Dataset(graph, _read_split(folder / "split" / "time", graph.num_nodes))


def read_products(folder: Path, name: str) -> Dataset:
    """Read ogbn-products, split by sales rank. Five of its classes have no training node.

    Raises:
        GraphError: a file is missing or malformed.
    """
    graph = _read_graph(folder / "raw", name, None)
    split = _read_split(folder / "split" / "sales_ranking", graph.num_nodes)
    return Dataset(graph, split)


def _read_graph(raw: Path, name: str, class_names: list[str] | None) -> Graph:
    num_nodes = int(_column(raw / "num-node-list.csv.gz").sum())
    source = str(raw / "node-feat.csv.gz")
    features = check_numbers(source, "features", _table(raw / "node-feat.csv.gz", pa.float32()))
    check_shape(source, "features", *features.shape)
    labels = _column(raw / "node-label.csv.gz").astype(np.int64)
    for what, have in (("feature", len(features)), ("label", len(labels))):
        if have != num_nodes:
            raise GraphError(str(raw), f"{have} {what} rows", f"{num_nodes}, as num-node-list says")
    names = check_labels(str(raw / "node-label.csv.gz"), "labels", labels, class_names)
    edges = _table(raw / "edge.csv.gz", pa.int32(), num_columns=2).T
    check_nodes(str(raw / "edge.csv.gz"), "edges", edges, num_nodes)
    return Graph(name, undirected(edges, num_nodes), features, labels, np.arange(num_nodes), names)


def _read_split(folder: Path, num_nodes: int) -> PublishedSplit:
    masks = np.zeros((len(_ROLES), 1, num_nodes), bool)
    for mask, role in zip(masks, _ROLES, strict=True):
        nodes = _column(folder / f"{role}.csv.gz")
        check_nodes(str(folder / f"{role}.csv.gz"), role, nodes, num_nodes)
        mask[0, nodes] = True
    return PublishedSplit(*masks)


def _class_names(path: Path) -> list[str]:
    """Second column of a table with a header, in the order of the first."""
    names = _parse(path, csv.ReadOptions(), csv.ConvertOptions())
    if names.num_columns != 2:
        raise GraphError(str(path), f"columns {', '.join(names.column_names)}", "a number and a name a class")
    return [str(name) for name in names.sort_by(names.column_names[0]).column(1).to_pylist()]


def _column(path: Path) -> npt.NDArray[np.int32]:
    return np.asarray(_table(path, pa.int32(), num_columns=1)[:, 0])


def _table(path: Path, kind: pa.DataType, num_columns: int | None = None) -> npt.NDArray[Any]:
    """Numbers without a header (rows, columns), parsed as `kind`; as many columns as the first line has."""
    names = [str(index) for index in range(num_columns or _width(path))]
    table = _parse(
        path,
        csv.ReadOptions(column_names=names),
        csv.ConvertOptions(column_types=dict.fromkeys(names, kind), null_values=[]),
    )
    return np.column_stack([column.to_numpy() for column in table.columns])


def _parse(path: Path, reading: csv.ReadOptions, conversion: csv.ConvertOptions) -> pa.Table:
    try:
        return csv.read_csv(path, read_options=reading, convert_options=conversion)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _width(path: Path) -> int:
    try:
        with gzip.open(path, "rt") as file:
            return file.readline().count(",") + 1
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> GraphError:
    return GraphError(str(path), f"no readable table ({error})", "a .csv.gz as OGB publishes it")
