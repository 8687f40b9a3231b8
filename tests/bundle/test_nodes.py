import shutil

import numpy as np
import pytest

from rbm_bundle.bundle import read_bundle
from rbm_bundle.errors import BundleError
from rbm_bundle.features import CsrFeatures, csr_from_dense
from rbm_bundle.nodes import CSR_FILES, UNKNOWN, NodeTable, mean_of_known_neighbors, open_node_table
from tests.bundles import SPARSE

POSITIONS = np.arange(12, dtype=np.float32).reshape(4, 3)


def rows(table, *ids):
    return table.rows_of(list(ids)).tolist()


def test_range_ids_are_their_own_rows():
    table = NodeTable(None, POSITIONS)
    assert rows(table, 0, 3, 4, -1, 2**80, "0") == [0, 3, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]


def test_integer_ids_are_searched():
    table = NodeTable(np.array([-5, 0, 7, 2**62]), POSITIONS)
    assert rows(table, 7, -5, 2**62, 0) == [2, 0, 3, 1]
    assert rows(table, 1, 2**63, -(2**70), "7") == [UNKNOWN] * 4


def test_string_ids_are_searched_whole():
    table = NodeTable(np.array([b"a", b"ab", b"z", b"\xc3\xa9"], "S2"), POSITIONS)
    assert rows(table, "é", "z", "ab", "a") == [3, 2, 1, 0]
    assert rows(table, "abc", "a\0", "", "aé", "\ud800") == [UNKNOWN] * 5


@pytest.mark.parametrize(
    ("ids", "wanted"),
    [
        (None, [3, 1]),
        (np.array([-5, 0, 7, 2**62]), [2**62, 0]),
        (np.array([b"a", b"b", b"z", b"\xc3\xa9"]), ["é", "b"]),
        (np.array([b"a", b"b", b"z", b"\xff"]), ["\ufffd", "b"]),
    ],
)
def test_rows_have_the_ids_that_a_caller_has(ids, wanted):
    table = NodeTable(ids, POSITIONS)
    assert table.ids_of(np.array([3, 1], np.int32)) == wanted
    assert {type(node_id) for node_id in table.ids_of(np.array([3, 1]))} == {type(wanted[0])}


@pytest.mark.parametrize("ids", [None, np.arange(4), np.array([b"a", b"b", b"c", b"d"])])
def test_of_no_ids_there_are_no_rows(ids):
    assert rows(NodeTable(ids, POSITIONS)) == []


def test_an_empty_table_knows_nobody():
    table = NodeTable(np.array([], np.int64), np.zeros((0, 3), np.float32))
    assert rows(table, 1, 2) == [UNKNOWN, UNKNOWN]


def test_cached_features_are_the_rows_asked_for_dense_or_sparse():
    dense = np.array([[0, 2, 0], [0, 0, 0], [1, 0, 3], [0, 0, 4]], np.float32)
    asked = np.array([2, 0, 1, 3, 2])
    np.testing.assert_array_equal(NodeTable(None, POSITIONS, dense).features_of(asked), dense[asked])
    sparse = NodeTable(None, POSITIONS, csr_from_dense(dense)).features_of(asked)
    assert isinstance(sparse, CsrFeatures)
    np.testing.assert_array_equal(sparse.to_dense(), dense[asked])


def test_features_that_are_not_cached_are_refused():
    with pytest.raises(LookupError, match="no node features"):
        NodeTable(None, POSITIONS).features_of(np.array([0]))


def test_an_unseen_node_stands_at_the_mean_of_its_known_neighbors():
    neighbors = [
        np.array([0, 1]),
        np.array([2, UNKNOWN, UNKNOWN, UNKNOWN]),
        np.array([UNKNOWN]),
        np.array([], int),
    ]
    means, known = mean_of_known_neighbors(POSITIONS, neighbors)
    np.testing.assert_array_equal(means, [[1.5, 2.5, 3.5], [6, 7, 8], [0, 0, 0], [0, 0, 0]])
    assert known.tolist() == [2, 1, 0, 0]


def test_the_table_of_a_bundle_is_mapped_not_read(tiny_bundle):
    table = read_bundle(tiny_bundle).nodes
    assert isinstance(table.positions.base, np.memmap)
    assert isinstance(table.ids.base, np.memmap)
    assert (table.id_kind, table.cached_features, table.num_nodes) == ("integer", "dense", 20)


def test_an_array_of_ids_finds_the_same_rows_as_a_list():
    integers = NodeTable(np.array([-5, 0, 7, 2**62]), POSITIONS)
    ids = [7, -5, 2**62, 0, 1, -(2**63)]
    assert integers.rows_of(np.array(ids)).tolist() == rows(integers, *ids)
    ids = [0, 3, 4, -1]
    assert NodeTable(None, POSITIONS).rows_of(np.array(ids)).tolist() == [0, 3, UNKNOWN, UNKNOWN]
    strings = NodeTable(np.array([b"1", b"2", b"3", b"4"]), POSITIONS)
    assert strings.rows_of(np.array([1, 2])).tolist() == [UNKNOWN] * 2
    assert rows(strings, 1, "1", "2") == [UNKNOWN, 0, 1]


def test_row_bounds_whose_differences_overflow_are_refused(tmp_path):
    manifest = read_bundle(SPARSE).manifest
    folder = shutil.copytree(SPARSE, tmp_path / "bundle")
    bounds = np.load(folder / CSR_FILES[0]).copy()
    bounds[1:4] = 2**63 - 1, -(2**63), -1  # each is less than 2**63 above the one before, modulo 2**64
    np.save(folder / CSR_FILES[0], bounds)
    with pytest.raises(BundleError, match="row bounds that fall"):
        open_node_table(folder, manifest)
