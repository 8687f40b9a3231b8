"""Features of models whose graph had none: they are degrees, which neighbours tell as well as a caller could.

Dimension letter: B rows.
"""

from dataclasses import replace

import numpy as np

from rbm_bundle import Bundle
from rbm_bundle.degrees import DEGREE_FEATURES, degree_features
from rbm_bundle.features import CsrFeatures
from rbm_bundle.nodes import UNKNOWN, Integers
from rbm_service.inference.node_query import NodeQuery


def are_degrees(bundle: Bundle) -> bool:
    """Whether the features of a model are degrees."""
    return bundle.manifest.features.names == DEGREE_FEATURES


def are_made_of_neighbors(query: NodeQuery, bundle: Bundle) -> bool:
    """Whether the neighbours that a query names stand for such features."""
    return query.features is None and are_degrees(bundle)


def with_features_of_neighbors(
    query: NodeQuery, bundle: Bundle, table_rows: list[int] | Integers
) -> NodeQuery:
    """The query with features (B, 2) of as many neighbours as it names, known or not; of rows that name none,
    the cached ones. As it was where such a row has none.

    Args:
        table_rows: the row of each node in the bundle's table, (B,).
    """
    assert query.neighbors is not None, "they are what features are made of"
    features = degree_features(np.array([len(set(ids or ())) for ids in query.neighbors]))
    if looked_up := [row for row, ids in enumerate(query.neighbors) if ids is None]:
        cached, rows = bundle.nodes.features, np.asarray(table_rows)[looked_up]
        if cached is None or UNKNOWN in rows:
            return query
        features[looked_up] = (
            cached.take(rows).to_dense() if isinstance(cached, CsrFeatures) else cached[rows]
        )
    return replace(query, features=features)
