import numpy as np
import pytest

from rbm_bundle.features import csr_from_dense
from rbm_service.errors import InvalidRequestError
from rbm_service.inference import features
from rbm_service.inference.features import (
    CsrRows,
    PaddedPair,
    check_lengths,
    graph_features,
    in_form,
    read_csr,
    read_matrix,
    read_padded,
)
from rbm_service.runtime import shapes

MATRIX = np.array([[0, 2, 0, -1], [0, 0, 0, 0], [4, 0, 0, 0]], np.float32)
INDPTR, INDICES, VALUES = [0, 2, 2, 3], [1, 3, 0], [2.0, -1.0, 4.0]
ACROSS_ROWS = CsrRows([0, 1, 2], [3, 3])  # the same column in two rows


def refusal(rows):
    with pytest.raises(InvalidRequestError) as refused:
        read_csr(rows, 4)
    return refused.value.detail


def test_compressed_rows_say_what_the_matrix_says():
    features = read_csr(CsrRows(INDPTR, INDICES, VALUES), 4)
    assert (features.to_dense() == MATRIX).all()


def test_values_that_are_left_out_are_ones():
    assert read_csr(CsrRows([0, 2], [0, 3]), 4).to_dense().tolist() == [[1, 0, 0, 1]]
    assert read_csr(ACROSS_ROWS, 4).to_dense().tolist() == [[0, 0, 0, 1], [0, 0, 0, 1]]


@pytest.mark.parametrize("values", [None, []])
def test_rows_may_all_be_empty(values):
    features = read_csr(CsrRows([0, 0, 0], [], values), 4)
    assert features.to_dense().tolist() == [[0] * 4] * 2
    assert graph_features(features)["feature_ids"].tolist() == [[4], [4]]


@pytest.mark.parametrize(
    ("rows", "detail"),
    [
        (CsrRows([1, 2], [0]), "features.indptr[0]: found 1, wanted 0"),
        (CsrRows([0, 2, 1, 2], [0, 1]), "features.indptr[2]: found 1 after 2, wanted no less"),
        (CsrRows([0, 1], [0, 1]), "features.indptr[1]: found 1, wanted 2, the length of indices"),
        (CsrRows([0, 3], [0, 1]), "features.indptr[1]: found 3, wanted 2, the length of indices"),
        (CsrRows([0], [1]), "features.indptr[0]: found 0, wanted 1, the length of indices"),
        (CsrRows([0, 2], [0, 4]), "features.indices[1]: found 4, wanted a column from 0 to 3"),
        (CsrRows([0, 1], [-1]), "features.indices[0]: found -1, wanted a column from 0 to 3"),
        (
            CsrRows([0, 1, 3], [3, 2, 2]),
            "features.indices[2]: found 2 after 2, wanted columns that rise within a row",
        ),
        (
            CsrRows([0, 2], [3, 2]),
            "features.indices[1]: found 2 after 3, wanted columns that rise within a row",
        ),
        (CsrRows([0, 1], [0], []), "features.values: found 0 numbers, wanted 1, one for each of indices"),
        (
            CsrRows([0, 1], [0], [1.0, 2.0]),
            "features.values: found 2 numbers, wanted 1, one for each of indices",
        ),
        (CsrRows([0, 1], [0], [2e15]), "features.values[0]: not a finite number within ±1e+15"),
        (
            CsrRows([0, 2], [0, 1], [1.0, float("nan")]),
            "features.values[1]: not a finite number within ±1e+15",
        ),
    ],
)
def test_compressed_rows_that_do_not_fit_are_refused_where_they_do_not(rows, detail):
    assert refusal(rows) == detail


@pytest.mark.parametrize("given", [MATRIX, csr_from_dense(MATRIX)], ids=["dense", "csr"])
def test_a_graph_gets_the_form_it_takes_however_the_features_came(given):
    assert (graph_features(in_form(given, "dense"))["features"] == MATRIX).all()
    padded = graph_features(in_form(given, "sparse"))
    assert padded["feature_ids"].tolist() == [[1, 3], [4, 4], [0, 4]]
    assert padded["feature_values"].tolist() == [[2, -1], [0, 0], [4, 0]]


def test_a_matrix_is_read_as_float32():
    assert read_matrix("positions", [[1, 2], [3, 4]], 2).dtype == np.float32
    assert read_matrix("positions", [[], []], 0).shape == (2, 0)


def rows_of_lengths(*lengths):
    return csr_from_dense(np.tri(200, dtype=np.float32)[np.array(lengths) - 1])


def test_a_row_longer_than_the_graph_gathers_at_once_is_refused(sparse_bundle, monkeypatch):
    monkeypatch.setattr(shapes, "MAX_FLOATS", 2 * 8 * 50)
    check_lengths(rows_of_lengths(1, 50).lengths, sparse_bundle.manifest)
    with pytest.raises(InvalidRequestError, match="found 51 non-zeros in row 1, wanted at most 50"):
        check_lengths(rows_of_lengths(1, 51, 2).lengths, sparse_bundle.manifest)


def test_a_long_row_is_refused_among_too_many_that_would_be_padded_to_it(sparse_bundle, monkeypatch):
    monkeypatch.setattr(features, "MAX_PADDED", 100)
    check_lengths(rows_of_lengths(1, 50).lengths, sparse_bundle.manifest)
    check_lengths(rows_of_lengths(*[10] * 10).lengths, sparse_bundle.manifest)
    message = "found 3 rows, the longest of 50 non-zeros, wanted at most 2 rows together with one as long"
    with pytest.raises(InvalidRequestError, match=message):
        check_lengths(rows_of_lengths(1, 50, 2).lengths, sparse_bundle.manifest)


def test_rows_without_a_single_word_are_never_too_long(sparse_bundle):
    rows = csr_from_dense(np.zeros((5, 200), np.float32))
    assert check_lengths(rows.lengths, sparse_bundle.manifest) == 1


def pair(ids, values):
    return PaddedPair(np.array(ids, np.int64), np.array(values, np.float32))


def padded_refusal(ids, values):
    with pytest.raises(InvalidRequestError) as refused:
        read_padded(pair(ids, values), F=5)
    return refused.value.detail


def test_padded_rows_are_passed_on_no_wider_than_their_longest():
    sent = pair([[0, 4, 5, 5], [2, 5, 5, 5]], [[1, 2, 0, 0], [3, 0, 0, 0]])
    rows = read_padded(sent, F=5)
    assert rows.ids.tolist() == [[0, 4], [2, 5]]
    assert rows.values.tolist() == [[1, 2], [3, 0]]
    assert np.shares_memory(rows.ids, sent.ids)
    assert np.shares_memory(rows.values, sent.values)
    assert in_form(rows, "sparse") is rows
    assert in_form(rows, "dense").tolist() == [[1, 0, 0, 0, 2], [0, 0, 3, 0, 0]]


def test_padded_rows_may_hold_nothing():
    rows = read_padded(pair([[5, 5]], [[0, 0]]), F=5)
    assert rows.ids.tolist() == [[5]]
    assert not in_form(rows, "dense").any()


@pytest.mark.parametrize(
    ("ids", "values", "said"),
    [
        ([[0, 5]], [[1]], "feature_values: found shape [1, 1], wanted [1, 2] as feature_ids"),
        ([[]], [[]], "feature_ids: found rows of no entries, wanted at least one"),
        ([[0, 6]], [[1, 1]], "feature_ids[0][1]: found 6, wanted a column from 0 to 4, or 5 as padding"),
        ([[0, 5], [-1, 5]], [[1, 0]] * 2, "feature_ids[1][0]: found -1, wanted a column"),
        ([[1, 1]], [[1, 1]], "feature_ids[0][1]: found 1 after 1, wanted columns that rise, then padding"),
        ([[5, 1]], [[0, 1]], "feature_ids[0][1]: found 1 after 5, wanted columns that rise, then padding"),
        ([[0, 5]], [[1, 1]], "feature_values[0][1]: found a value beside padding, wanted 0"),
        ([[0, 5]], [[np.nan, 0]], "feature_values[0][0]: not a finite number"),
    ],
)
def test_padded_rows_that_do_not_fit_are_refused(ids, values, said):
    assert padded_refusal(ids, values).startswith(said)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.1e15])
def test_an_array_is_checked_as_a_list_is_and_passed_on_as_it_is(value):
    matrix = np.ones((2, 3), np.float32)
    assert read_matrix("features", matrix, 3) is matrix
    with pytest.raises(InvalidRequestError, match=r"features\[0\]: found 3 numbers, wanted 4"):
        read_matrix("features", matrix, 4)
    matrix[1, 2] = value
    with pytest.raises(InvalidRequestError, match=r"features\[1\]\[2\]: not a finite number"):
        read_matrix("features", matrix, 3)
