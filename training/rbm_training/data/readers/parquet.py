"""A user's own graph as a folder of three tables, Parquet or CSV; read strictly, refused by name.

| table | columns |
|---|---|
| `nodes` | `node_id`, integers or strings; features in one of three forms |
| `edges` | `source` and `target`, node ids; one direction is enough |
| `labels` | `node_id`; `label`, strings or integers from 0; optional `split`: train, val, test |

A table is a file, as `nodes.parquet` or `nodes.csv`, or a folder of part files, as `nodes` or
`nodes.parquet`.

Features: every other column of `nodes`, taken as they are where all are numbers without gaps, else made
features as `data/columns.py` and `[features]` of the experiment say; or one column `features` of lists, all
of one length; or `feature_ids`, lists of column numbers from 0, with `feature_values` beside them (ones when
left out), and as many features as the largest number says. Without any, or without `nodes`, features are the
nodes' degrees. A node without a label has no row in `labels`, or null there. The classes are the different
labels in rising order. Without `labels`, the columns `label` and `split` of `nodes` are read.
"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from rbm_bundle.degrees import DEGREE_FEATURES, degree_features
from rbm_training.config import FeaturesConfig
from rbm_training.config.features import AS_GUESSED
from rbm_training.data.checks import check_distinct, check_numbers, check_shape, check_sparse
from rbm_training.data.column_features import fit_columns
from rbm_training.data.columns import RawColumns, are_plain_numbers, raw_columns
from rbm_training.data.dataset import Dataset
from rbm_training.data.edges import EDGES_ARE_PLAIN, symmetrised
from rbm_training.data.graph import Features, Floats, Graph, GraphError, Integers
from rbm_training.data.graph_statistics import Source
from rbm_training.data.readers.graph_tables import GraphTables, open_tables
from rbm_training.data.readers.labels import read_classes
from rbm_training.data.readers.split_column import SplitColumn
from rbm_training.data.readers.tables import Lists, ParquetTable
from rbm_training.data.splits import PublishedSplit

MOST_FEATURES: Final = 2**31
_ROLES: Final = ("train", "val", "test")
_NEVER_FEATURES: Final = ("label", "split", "feature_values")


def load_parquet(
    folder: Path, name: str, config: FeaturesConfig = AS_GUESSED, split_column: SplitColumn | None = None
) -> Dataset:
    """Read and check a graph.

    Args:
        config: what its columns are taken for.
        split_column: by which nodes are divided; no feature, unless the config names it.

    Raises:
        GraphError: a table or one of its columns is not what it should be; says which, what was found and
            what was wanted.
    """
    return dataset_of(open_tables(folder), name, config, split_column)


def dataset_of(
    tables: GraphTables,
    name: str,
    config: FeaturesConfig = AS_GUESSED,
    split_column: SplitColumn | None = None,
) -> Dataset:
    """The graph in tables.

    Raises:
        GraphError: as above.
    """
    nodes, edges, labels = tables.nodes, tables.edges, tables.labels
    ids = nodes.discrete("node_id")
    if not len(ids):
        raise GraphError(nodes.source, "no node", "nodes of at least two classes")
    check_distinct(nodes.source, "node_id", ids)
    labels.refuse_unlisted("node_id", "label", "split", *([split_column.name] if split_column else []))
    labelled = labels.rows_of("node_id", ids)
    check_distinct(labels.source, "node_id", ids[labelled])
    ranks = None
    if split_column is not None:
        ranks = split_column.ranks_in_tables(nodes, labels, labelled, len(ids))
        nodes = _without(split_column, nodes, config)
    columns = _raw_columns(nodes, config)
    features: Features | None = None
    names: tuple[str, ...] = ()
    if columns is not None:
        features = fit_columns(columns, np.arange(len(ids))).features
    elif nodes.unlisted("node_id"):
        features, names = _features(nodes, len(ids))
    edge_index = np.stack([edges.rows_of(column, ids) for column in ("source", "target")])
    adjacency, counts = symmetrised(edge_index, len(ids))
    numbers, class_names = read_classes(labels, labelled, len(ids))
    unused = tables.unused + tuple(
        f"{Path(edges.source).name}: column {column}: {EDGES_ARE_PLAIN}"
        for column in edges.unlisted("source", "target")
    )
    has_features = features is not None
    if features is None:
        features, names = degree_features(np.diff(adjacency.indptr)), DEGREE_FEATURES
    graph = Graph(name, adjacency, features, numbers, ids, class_names)
    split = _published_split(labels, labelled, len(ids))
    source = Source(counts, unused, has_features, names)
    return Dataset(graph, split, source=source, columns=columns, ranks=ranks)


def _without(split_column: SplitColumn, nodes: ParquetTable, config: FeaturesConfig) -> ParquetTable:
    """The nodes without the column that they are divided by, unless the config has it for a feature."""
    if split_column.name in config.columns:
        return nodes
    return nodes.with_columns(*nodes.unlisted(split_column.name))


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


def _features(nodes: ParquetTable, num_nodes: int) -> tuple[Features, tuple[str, ...]]:
    """The features, and their names where each is a column."""
    if "features" in nodes.names:
        return _listed_features(nodes, num_nodes), ()
    if "feature_ids" in nodes.names:
        return _sparse_features(nodes, num_nodes), ()
    _refuse_other_columns(nodes)
    columns = [name for name in nodes.names if name != "node_id"]
    check_shape(nodes.source, "features", num_nodes, len(columns))
    features = np.empty((num_nodes, len(columns)), np.float32)
    for index, column in enumerate(columns):
        features[:, index] = check_numbers(nodes.source, column, nodes.numbers(column))
    return features, tuple(columns)


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
    smallest = int(columns.values.min(initial=0))
    largest = int(columns.values.max()) if len(columns.values) else -1
    if smallest < 0 or largest >= MOST_FEATURES:
        found = smallest if smallest < 0 else largest
        raise GraphError(nodes.source, f"a feature id {found}", f"column numbers 0..{MOST_FEATURES - 1}")
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


def _published_split(
    table: ParquetTable, labelled: npt.NDArray[np.int32], num_nodes: int
) -> PublishedSplit | None:
    split = table.column_or_none("split")
    if split is None or split.null_count == len(split):
        return None
    masks = np.zeros((len(_ROLES), 1, num_nodes), bool)
    for mask, members in zip(masks, table.member_of("split", _ROLES), strict=True):
        mask[0, labelled[members]] = True
    return PublishedSplit(*masks)
