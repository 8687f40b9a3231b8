"""A query and the bundle → rows for the graph."""

import numpy as np
import pytest

from rbm_service.errors import UnknownNodeError
from rbm_service.inference.batch import InputGatherer
from rbm_service.inference.features import CsrRows, PaddedPair
from rbm_service.inference.node_query import NodeQuery
from rbm_service.inference.preprocessing import encode
from rbm_service.runtime.tensors import padded_width
from tests.bundles import (
    STRING_IDS,
    sparsified,
    with_sparse_features,
    with_string_ids,
    without_positions,
)
from tests.service.inference.queries import FEATURES, MAX_ROWS, POSITION, refusal


def position_of(bundle, *ids):
    rows = [(node_id - 100) // 5 for node_id in ids]
    return bundle.nodes.positions[rows].mean(axis=0)


def looked_up(rows, bundle):
    """The inputs of known nodes, which are looked up when they run."""
    assert not set(rows.overrides) - {"positions"}
    model_inputs = InputGatherer(bundle).inputs_of([rows])
    assert rows.width == padded_width(model_inputs)
    return model_inputs


def test_a_known_id_finds_its_position_and_its_cached_features(bundle):
    rows = encode(NodeQuery(node_ids=[105, 195]), bundle, MAX_ROWS)
    assert rows.sources == ["cached", "cached"]
    model_inputs = looked_up(rows, bundle)
    assert (model_inputs["positions"] == bundle.nodes.positions[[1, 19]]).all()
    assert (model_inputs["features"] == bundle.nodes.features[[1, 19]]).all()
    assert model_inputs["features"].dtype == model_inputs["positions"].dtype == np.float32


def test_features_of_the_caller_win_over_cached_ones(bundle):
    rows = encode(NodeQuery(node_ids=[105], features=[FEATURES]), bundle, MAX_ROWS)
    assert rows.overrides["features"].tolist() == [FEATURES]


def test_supplied_positions_win_over_neighbours_and_over_the_table(bundle):
    query = NodeQuery(node_ids=[105], neighbors=[[110]], positions=[POSITION])
    rows = encode(query, bundle, MAX_ROWS)
    assert rows.sources == ["supplied"]
    assert rows.overrides["positions"].tolist() == [POSITION]


def test_the_position_of_an_unseen_node_is_the_mean_of_its_known_neighbours(bundle):
    query = NodeQuery(neighbors=[[100, 110], [105]], features=[FEATURES] * 2)
    rows = encode(query, bundle, MAX_ROWS)
    assert rows.sources == ["neighbors", "neighbors"]
    assert rows.overrides["positions"][0] == pytest.approx(position_of(bundle, 100, 110))
    assert rows.overrides["positions"][1] == pytest.approx(position_of(bundle, 105))


def test_unknown_neighbours_are_left_out_of_the_mean(bundle):
    rows = encode(NodeQuery(neighbors=[[100, 1, 110, 2**70]], features=[FEATURES]), bundle, MAX_ROWS)
    assert rows.sources == ["neighbors"]
    assert rows.overrides["positions"][0] == pytest.approx(position_of(bundle, 100, 110))


@pytest.mark.parametrize("neighbors", [[], [1, 2]])
def test_without_any_known_neighbour_the_position_is_zeros_and_says_so(bundle, neighbors):
    rows = encode(NodeQuery(neighbors=[neighbors], features=[FEATURES]), bundle, MAX_ROWS)
    assert rows.sources == ["default"]
    assert not rows.overrides["positions"].any()


@pytest.mark.parametrize("neighbors", [[], [1, 2]])
def test_a_known_node_of_which_no_neighbour_is_known_keeps_its_cached_position(bundle, neighbors):
    rows = encode(
        NodeQuery(node_ids=[105, 7], neighbors=[neighbors, [100]], features=[FEATURES] * 2), bundle, 8
    )
    assert rows.sources == ["cached", "neighbors"]
    assert (rows.overrides["positions"] == bundle.nodes.positions[[1, 0]]).all()


def test_null_neighbours_mean_look_it_up(bundle):
    query = NodeQuery(node_ids=[100, 1, 100, 2], neighbors=[None, [110], [110], []], features=[FEATURES] * 4)
    rows = encode(query, bundle, MAX_ROWS)
    assert rows.sources == ["cached", "neighbors", "neighbors", "default"]
    assert rows.overrides["positions"][0] == pytest.approx(position_of(bundle, 100))
    assert rows.overrides["positions"][2] == pytest.approx(position_of(bundle, 110))


def test_a_model_with_string_ids_looks_them_up_and_refuses_integers(bundle, tmp_path):
    strings = with_string_ids(bundle, tmp_path / "strings")
    rows = encode(
        NodeQuery(node_ids=STRING_IDS[:3], neighbors=[None, ["node-100"], ["x"]]), strings, MAX_ROWS
    )
    assert rows.sources == ["cached", "neighbors", "cached"]
    assert (rows.overrides["positions"][:2] == bundle.nodes.positions[0]).all()
    assert refusal(NodeQuery(node_ids=[100]), strings).startswith("node_ids[0]: expected a string")
    with pytest.raises(UnknownNodeError, match="'node-10'"):
        encode(NodeQuery(node_ids=["node-10"]), strings, MAX_ROWS)


def test_a_model_without_positions_needs_features_alone(bundle, tmp_path):
    linear = without_positions(bundle, tmp_path / "linear")
    for query in (
        NodeQuery(features=[FEATURES]),
        NodeQuery(node_ids=[7], features=[FEATURES]),
        NodeQuery(node_ids=[100]),
    ):
        rows = encode(query, linear, MAX_ROWS)
        assert rows.sources == ["default"]
        model_inputs = looked_up(rows, linear) if query.features is None else rows.overrides
        assert model_inputs["positions"].shape == (1, 0)
    assert "required" in refusal(NodeQuery(node_ids=[7]), linear)
    supplied = NodeQuery(features=[FEATURES], positions=[POSITION])
    assert refusal(supplied, linear) == "positions[0]: expected 0 numbers, got 4"


def test_compressed_rows_count_as_rows(bundle):
    rows = encode(NodeQuery(node_ids=[105, 100], features=CsrRows([0, 1, 1], [3], [0.5])), bundle, MAX_ROWS)
    expected = np.zeros((2, 12))
    expected[0, 3] = 0.5
    assert (rows.overrides["features"] == expected).all()
    found = refusal(NodeQuery(node_ids=[100], features=CsrRows([0, 0, 0], [])), bundle)
    assert found == "expected columns of one length, got node_ids of 1, features of 2"
    found = refusal(NodeQuery(features=CsrRows([0], [])), bundle)
    assert found == f"features: expected 1 to {MAX_ROWS} rows, got 0"


def test_a_sparse_model_is_fed_padded_rows_of_cached_and_of_supplied_features(bundle, tmp_path):
    sparse = with_sparse_features(bundle, tmp_path / "sparse")
    known = sparsified(bundle.nodes.features)[[1, 0]]
    for query in (
        NodeQuery(node_ids=[105, 100]),
        NodeQuery(features=known.tolist()),
        NodeQuery(
            features=CsrRows(
                [0, known.astype(bool).sum(), known.astype(bool).sum()],
                np.flatnonzero(known[0]).tolist(),
                known[0][known[0] > 0].tolist(),
            )
        ),
    ):
        rows = encode(query, sparse, MAX_ROWS)
        model_inputs = looked_up(rows, sparse) if query.features is None else rows.overrides
        assert set(model_inputs) == {"feature_ids", "feature_values", "positions"}
        assert (
            model_inputs["feature_ids"].shape
            == model_inputs["feature_values"].shape
            == (2, (known[0] > 0).sum())
        )
        dense = np.zeros((2, 13), np.float32)
        dense[np.arange(2)[:, None], model_inputs["feature_ids"]] = model_inputs["feature_values"]
        assert (dense[:, :12] == known).all()


def test_arrays_are_as_good_as_lists(bundle, sparse_bundle):
    ids = [105, 100]
    features, positions = np.full((2, 12), 0.5, np.float32), np.ones((2, 4), np.float32)
    from_lists = encode(NodeQuery(ids, features.tolist(), None, positions.tolist()), bundle, MAX_ROWS)
    from_arrays = encode(NodeQuery(np.array(ids), features, None, positions), bundle, MAX_ROWS)
    for name, feed in from_lists.overrides.items():
        assert (from_arrays.overrides[name] == feed).all()
        assert np.shares_memory(
            from_arrays.overrides[name], {"features": features, "positions": positions}[name]
        )
    cached = looked_up(encode(NodeQuery(np.array([3, 4])), sparse_bundle, MAX_ROWS), sparse_bundle)
    pair = PaddedPair(cached["feature_ids"], cached["feature_values"])
    assert np.shares_memory(
        encode(NodeQuery(np.array([3, 4]), pair), sparse_bundle, MAX_ROWS).overrides["feature_values"],
        pair.values,
    )


def assert_encoded_alike(one, other):
    """The same rows for the graph, to the bit."""
    assert (list(one.table_rows), one.sources, one.width) == (
        list(other.table_rows),
        other.sources,
        other.width,
    )
    assert one.overrides.keys() == other.overrides.keys()
    for name, tensor in one.overrides.items():
        np.testing.assert_array_equal(tensor, other.overrides[name], strict=True)


ROWS = np.eye(4, 12, dtype=np.float32).tolist()
CSR = CsrRows([0, 3, 4, 4, 6], [1, 5, 7, 2, 0, 11], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
PAIR = PaddedPair(
    np.array([[1, 5, 7], [2, 12, 12], [12, 12, 12], [0, 11, 12]]),
    np.array([[1, 2, 3], [4, 0, 0], [0, 0, 0], [5, 6, 0]], np.float32),
)
UNPLACED = {"node_ids": [7, 100, 8, 105], "neighbors": [None, None, [100], [110]]}


@pytest.mark.parametrize(
    ("columns", "unknown"),
    [
        ({"node_ids": [7, 100, 8, 105]}, [0, 2]),
        ({"node_ids": [7, 100, 8, 105], "features": ROWS}, [0, 2]),
        ({"node_ids": np.array([7, 100, 8, 105]), "features": np.array(ROWS, np.float32)}, [0, 2]),
        ({"node_ids": [7, 100, 8, 105], "positions": [POSITION] * 4}, [0, 2]),
        ({**UNPLACED, "features": ROWS}, [0]),
        ({**UNPLACED, "features": CSR}, [0]),
        ({**UNPLACED, "features": CsrRows(CSR.indptr, CSR.indices)}, [0]),
        ({**UNPLACED, "features": PAIR}, [0]),
        (UNPLACED, [0, 2]),
        ({**UNPLACED, "features": ROWS, "positions": [POSITION] * 4}, []),
    ],
)
def test_rows_that_nothing_is_known_of_are_left_out_as_if_nobody_had_asked(bundle, columns, unknown):
    query = NodeQuery(**columns, on_unknown="null")
    rows = encode(query, bundle, MAX_ROWS)
    answered = [row for row in range(4) if row not in unknown]
    assert (list(rows.unknown), rows.answered, rows.num_asked) == (unknown, answered, 4)
    assert_encoded_alike(rows, encode(query.at(answered), bundle, MAX_ROWS))


def test_a_sparse_model_is_fed_rows_no_wider_for_one_that_is_left_out(sparse_bundle):
    query = NodeQuery(node_ids=[999, 3], features=CsrRows([0, 3, 4], [1, 5, 7, 150]), on_unknown="null")
    rows = encode(query, sparse_bundle, MAX_ROWS)
    assert (rows.width, rows.overrides["feature_ids"].tolist()) == (1, [[150]])
    assert_encoded_alike(rows, encode(NodeQuery([3], CsrRows([0, 1], [150])), sparse_bundle, MAX_ROWS))


def test_of_ids_that_are_all_unknown_no_row_is_left(bundle):
    rows = encode(NodeQuery(node_ids=[7, 8], on_unknown="null"), bundle, MAX_ROWS)
    assert (rows.num_rows, rows.num_asked, rows.answered, rows.unknown) == (0, 2, [], [0, 1])


def test_where_a_model_has_no_positions_features_are_enough_for_an_unknown_node(bundle, tmp_path):
    linear = without_positions(bundle, tmp_path / "linear")
    described = NodeQuery(node_ids=[7, 100], features=[FEATURES] * 2, on_unknown="null")
    assert not encode(described, linear, MAX_ROWS).unknown
    assert encode(NodeQuery(node_ids=[7, 100], on_unknown="null"), linear, MAX_ROWS).unknown == [0]
