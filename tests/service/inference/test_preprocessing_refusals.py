"""Which queries are refused, and with what reason."""

import numpy as np
import pytest

from rbm_service.errors import UnknownNodeError
from rbm_service.inference.features import CsrRows, PaddedPair
from rbm_service.inference.node_query import NodeQuery
from rbm_service.inference.preprocessing import MAX_NEIGHBORS, encode
from rbm_service.runtime import shapes
from tests.bundles import (
    with_string_ids,
    without_cached_features,
)
from tests.service.inference.queries import FEATURES, MAX_ROWS, POSITION, refusal


def test_unknown_ids_without_neighbours_are_named(bundle):
    query = NodeQuery(node_ids=[100, 7, 8, 9], neighbors=[None, None, [100], None])
    with pytest.raises(UnknownNodeError, match=r"2 unknown: 7, 9;"):
        encode(query, bundle, MAX_ROWS)


def test_rows_with_neither_id_nor_neighbours_nor_position_are_refused(bundle):
    assert refusal(NodeQuery(features=[FEATURES]), bundle) == (
        "no node id, neighbors or position for 1 of the rows (0)"
    )
    assert "2 of the rows (0, 2)" in refusal(NodeQuery(neighbors=[None, [100], None]), bundle)


def test_missing_features_of_unknown_ids_are_refused_by_row(bundle):
    query = NodeQuery(node_ids=[1, 100, 2], neighbors=[[100], None, [100]])
    assert refusal(query, bundle) == "features: required: no cached node features for 2 of the rows (0, 2)"


def test_missing_features_are_refused_when_the_bundle_caches_none(bundle, tmp_path):
    bare = without_cached_features(bundle, tmp_path / "bare")
    assert "this model caches no node features" in refusal(NodeQuery(node_ids=[100]), bare)
    assert encode(NodeQuery(node_ids=[100], features=[FEATURES]), bare, MAX_ROWS).sources == ["cached"]


def test_an_empty_query_is_refused(bundle):
    assert "at least one of node_ids, features, neighbors, positions" in refusal(NodeQuery(), bundle)


@pytest.mark.parametrize("num_rows", [0, MAX_ROWS + 1])
def test_the_number_of_rows_is_bounded(bundle, num_rows):
    found = refusal(NodeQuery(node_ids=[100] * num_rows), bundle)
    assert found == f"node_ids: expected 1 to {MAX_ROWS} rows, got {num_rows}"


def test_as_many_rows_as_allowed_are_taken(bundle):
    assert encode(NodeQuery(node_ids=[100] * MAX_ROWS), bundle, MAX_ROWS).num_rows == MAX_ROWS


def test_columns_of_different_lengths_are_refused(bundle):
    query = NodeQuery(node_ids=[100, 105], features=[FEATURES])
    assert refusal(query, bundle) == "expected columns of one length, got node_ids of 2, features of 1"


def test_rows_of_the_wrong_width_are_refused(bundle):
    narrow = NodeQuery(node_ids=[100, 105], features=[FEATURES, [0.5] * 11])
    assert refusal(narrow, bundle) == "features[1]: expected 12 numbers, got 11"
    wide = NodeQuery(positions=[[*POSITION, 0.0]], features=[FEATURES])
    assert refusal(wide, bundle) == "positions[0]: expected 4 numbers, got 5"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.1e15, -1e39])
@pytest.mark.parametrize("column", ["features", "positions"])
def test_numbers_that_float32_cannot_hold_are_refused(bundle, column, value):
    columns = {"features": [list(FEATURES)], "positions": [list(POSITION)]}
    columns[column][0][2] = value
    found = refusal(NodeQuery(**columns), bundle)
    assert found == f"{column}[0][2]: not a finite number within ±1e+15"


def test_string_ids_are_refused_by_a_model_with_integer_ids(bundle):
    said = "expected an integer, as are all ids of this model, got '105'"
    assert refusal(NodeQuery(node_ids=[100, "105"]), bundle) == f"node_ids[1]: {said}"
    query = NodeQuery(neighbors=[None, [100, "105"]], node_ids=[100, 105])
    assert refusal(query, bundle) == f"neighbors[1][1]: {said}"


def test_the_number_of_neighbours_is_bounded(bundle):
    query = NodeQuery(neighbors=[[100] * (MAX_NEIGHBORS + 1)], features=[FEATURES])
    assert (
        refusal(query, bundle) == f"neighbors: expected at most {MAX_NEIGHBORS} ids, got {MAX_NEIGHBORS + 1}"
    )


def test_a_row_longer_than_a_sparse_model_gathers_at_once_is_refused(sparse_bundle, monkeypatch):
    monkeypatch.setattr(shapes, "MAX_FLOATS", 2 * 8 * 50)
    row = CsrRows([0, 51], list(range(51)))
    assert refusal(NodeQuery(node_ids=[0], features=row), sparse_bundle) == (
        "features: expected at most 50 non-zeros a row, got 51 in row 0"
    )
    dense = [[1.0] * 51 + [0.0] * 149]
    assert "got 51 in row 0" in refusal(NodeQuery(node_ids=[0], features=dense), sparse_bundle)


def test_unknown_ids_of_an_array_are_named_as_those_of_a_list(bundle):
    with pytest.raises(UnknownNodeError, match=r"1 unknown: 7;"):
        encode(NodeQuery(np.array([100, 7])), bundle, MAX_ROWS)


def test_an_array_of_ids_is_refused_by_a_model_with_string_ids(bundle, tmp_path):
    strings = with_string_ids(bundle, tmp_path / "strings")
    said = "node_ids[0]: expected a string, as are all ids of this model, got 100"
    assert refusal(NodeQuery(np.array([100])), strings) == said


def test_padded_rows_longer_than_a_sparse_model_gathers_at_once_are_refused(sparse_bundle, monkeypatch):
    monkeypatch.setattr(shapes, "MAX_FLOATS", 2 * 8 * 50)
    row = PaddedPair(np.arange(51)[None], np.ones((1, 51), np.float32))
    assert refusal(NodeQuery(np.array([0]), row), sparse_bundle) == (
        "features: expected at most 50 non-zeros a row, got 51 in row 0"
    )


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"node_ids": [100, "7"]}, "node_ids[1]: expected an integer"),
        (
            {"node_ids": [7, 100], "neighbors": [["7"], None]},
            "neighbors[0][0]: expected an integer",
        ),
        (
            {"node_ids": [100, 7], "features": [FEATURES, [0.5] * 11]},
            "features[1]: expected 12 numbers, got 11",
        ),
        ({"node_ids": [100, 7], "positions": [POSITION, [1.0]]}, "positions[1]: expected 4 numbers, got 1"),
        (
            {"node_ids": [7], "features": CsrRows([0, 1], [12])},
            "features.indices[0]: expected a column from 0",
        ),
        ({"node_ids": [7] * (MAX_ROWS + 1)}, f"node_ids: expected 1 to {MAX_ROWS} rows"),
        (
            {"neighbors": [None], "features": [FEATURES]},
            "no node id, neighbors or position for 1 of the rows (0)",
        ),
    ],
)
def test_what_is_wrong_is_refused_also_where_unknown_nodes_are_not(bundle, columns, said):
    assert refusal(NodeQuery(**columns, on_unknown="null"), bundle).startswith(said)


def test_where_a_model_caches_no_features_an_unknown_id_does_not_make_up_for_them(bundle, tmp_path):
    bare = without_cached_features(bundle, tmp_path / "bare")
    found = refusal(NodeQuery(node_ids=[7], on_unknown="null"), bare)
    assert found == "features: required: this model caches no node features"
    described = NodeQuery(node_ids=[7, 100], features=[FEATURES] * 2, on_unknown="null")
    assert encode(described, bare, MAX_ROWS).unknown == [0]
