"""A user's own graph as a folder of three Parquet tables; read strictly, refused by name.

| file | columns |
|---|---|
| `nodes.parquet` | `node_id`, integers or strings; features in one of three forms |
| `edges.parquet` | `source` and `target`, node ids; one direction is enough |
| `labels.parquet` | `node_id`; `label`, strings or integers from 0; optional `split`: train, val, test |

Features: every other column of `nodes`, taken as they are where all are numbers without gaps, else made
features as `data/columns.py` and `[features]` of the experiment say; or one column `features` of lists, all
of one length; or `feature_ids`, lists of column numbers from 0, with `feature_values` beside them (ones when
left out), and as many features as the largest number says. A node without a label has no row in `labels`.
The classes are the different labels in rising order.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from rbm_training.config import FeaturesConfig
from rbm_training.data.checks import check_distinct, check_labels, check_numbers, check_shape, check_sparse
from rbm_training.data.column_features import fit_columns
from rbm_training.data.columns import RawColumns, are_plain_numbers, raw_columns
from rbm_training.data.dataset import Dataset
from rbm_training.data.edges import undirected
from rbm_training.data.graph import UNLABELLED, Floats, Graph, GraphError, Integers
from rbm_training.data.readers.tables import Lists, ParquetTable
from rbm_training.data.splits import PublishedSplit

_TABLES: Final = ("nodes", "edges", "labels")
_ROLES: Final = ("train", "val", "test")
AS_GUESSED: Final = FeaturesConfig()
_NEVER_FEATURES: Final = ("label", "split", "feature_values")


def load_parquet(folder: Path, name: str, features_config: FeaturesConfig = AS_GUESSED) -> Dataset:
    """Read and check a graph.

    Raises:
        GraphError: a table or one of its columns is not what it should be; says which, what was found and
            what was wanted.
    """
    known = [f"{table}.parquet" for table in _TABLES]
    if unlisted := sorted({path.name for path in folder.glob("*.parquet")} - set(known)):
        raise GraphError(str(folder), f"unknown tables {', '.join(unlisted)}", ", ".join(known))
    nodes, edges, labels = (ParquetTable(folder / table) for table in known)
    ids = nodes.discrete("node_id")
    columns = _raw_columns(nodes, features_config)
    if columns is None:
        features = _features(nodes, len(ids))
    else:
        features = fit_columns(columns, np.arange(len(ids))).features
    check_distinct(nodes.source, "node_id", ids)
    edges.refuse_unlisted("source", "target")
    edge_index = np.stack([edges.rows_of(column, ids) for column in ("source", "target")])
    labels.refuse_unlisted("node_id", "label", "split")
    labelled = labels.rows_of("node_id", ids)
    check_distinct(labels.source, "node_id", ids[labelled])
    numbers, class_names = _classes(labels, labelled, len(ids))
    graph = Graph(name, undirected(edge_index, len(ids)), features, numbers, ids, class_names)
    return Dataset(graph, _published_split(labels, labelled, len(ids)), columns=columns)


def _raw_columns(nodes: ParquetTable, config: FeaturesConfig) -> RawColumns | None:
    """The columns of nodes, unless they are features as they are."""
    if "features" in nodes.names or "feature_ids" in nodes.names:
        return None
    table = nodes.select([name for name in nodes.names if name not in ("node_id", *_NEVER_FEATURES)])
    if config == AS_GUESSED and are_plain_numbers(table):
        return None
    _refuse_other_columns(nodes)
    return raw_columns(nodes.source, table, config)


def _refuse_other_columns(nodes: ParquetTable) -> None:
    if unlisted := [name for name in nodes.names if name in _NEVER_FEATURES]:
        raise GraphError(nodes.source, f"column {unlisted[0]} among the features", "features alone")


def _features(nodes: ParquetTable, num_nodes: int) -> Floats | sp.csr_array:
    if "features" in nodes.names:
        return _listed_features(nodes, num_nodes)
    if "feature_ids" in nodes.names:
        return _sparse_features(nodes, num_nodes)
    _refuse_other_columns(nodes)
    columns = [name for name in nodes.names if name != "node_id"]
    check_shape(nodes.source, "features", num_nodes, len(columns))
    features = np.empty((num_nodes, len(columns)), np.float32)
    for index, column in enumerate(columns):
        features[:, index] = check_numbers(nodes.source, column, nodes.numbers(column))
    return features


def _listed_features(nodes: ParquetTable, num_nodes: int) -> Floats:
    nodes.refuse_unlisted("node_id", "features")
    lists = nodes.lists("features")
    num_features = int(lists.lengths.max(initial=0))
    check_shape(nodes.source, "features", num_nodes, num_features)
    _check_lengths(nodes, "features", lists, np.full(num_nodes, lists.lengths[0]))
    return check_numbers(nodes.source, "features", lists.values.reshape(num_nodes, num_features))


def _sparse_features(nodes: ParquetTable, num_nodes: int) -> sp.csr_array:
    nodes.refuse_unlisted("node_id", "feature_ids", "feature_values")
    columns = nodes.lists("feature_ids")
    if columns.values.dtype.kind not in "iu":
        raise GraphError(nodes.source, f"feature_ids of type {columns.values.dtype}", "lists of integers")
    smallest, largest = int(columns.values.min(initial=0)), int(columns.values.max(initial=-1))
    if smallest < 0:
        raise GraphError(nodes.source, f"a feature id {smallest}", "column numbers from 0")
    check_shape(nodes.source, "features", num_nodes, largest + 1)
    values = np.ones(len(columns.values), np.float32)
    if "feature_values" in nodes.names:
        weights = nodes.lists("feature_values")
        _check_lengths(nodes, "feature_values", weights, columns.lengths)
        values = check_numbers(nodes.source, "feature_values", weights.values)
    bounds = np.concatenate([[0], np.cumsum(columns.lengths)])
    parts = (values, columns.values.astype(np.int64), bounds)
    return check_sparse(nodes.source, "feature_ids", sp.csr_array(parts, shape=(num_nodes, largest + 1)))


def _check_lengths(nodes: ParquetTable, name: str, lists: Lists, wanted: Integers) -> None:
    differs = np.flatnonzero(lists.lengths != wanted)
    if len(differs):
        row = int(differs[0])
        raise GraphError(
            nodes.source, f"{lists.lengths[row]} numbers in {name}[{row}]", f"{wanted[row]} of them"
        )


def _classes(
    table: ParquetTable, labelled: npt.NDArray[np.int32], num_nodes: int
) -> tuple[Integers, tuple[str, ...]]:
    """Class number of each node (N,), and the classes' names."""
    values: npt.NDArray[Any] = table.discrete("label")
    if values.dtype.kind == "i" and values.min(initial=0) < 0:
        raise GraphError(
            table.source, f"label {values.min()}", "integers from 0, or no row for an unlabelled node"
        )
    different, numbers = np.unique(values, return_inverse=True)
    labels = np.full(num_nodes, UNLABELLED, np.int64)
    labels[labelled] = numbers
    return labels, check_labels(table.source, "label", labels, [str(value) for value in different])


def _published_split(
    table: ParquetTable, labelled: npt.NDArray[np.int32], num_nodes: int
) -> PublishedSplit | None:
    if "split" not in table.names:
        return None
    masks = np.zeros((len(_ROLES), 1, num_nodes), bool)
    for mask, members in zip(masks, table.member_of("split", _ROLES), strict=True):
        mask[0, labelled[members]] = True
    return PublishedSplit(*masks)
