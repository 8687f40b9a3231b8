import numpy as np
import pytest

from rbm_bundle.features import csr_from_dense
from rbm_service.errors import InvalidRequestError
from rbm_service.inference import features
from rbm_service.inference.features import (
    CsrRows,
    PaddedPair,
    check_lengths,
    graph_inputs,
    read_matrix,
)
from rbm_service.runtime import shapes

MATRIX = np.array([[0, 2, 0, -1], [0, 0, 0, 0], [4, 0, 0, 0]], np.float32)
INDPTR, INDICES, VALUES = [0, 2, 2, 3], [1, 3, 0], [2.0, -1.0, 4.0]
ACROSS_ROWS = CsrRows([0, 1, 2], [3, 3])  # the same column in two rows


def refusal(rows):
    with pytest.raises(InvalidRequestError) as refused:
        rows.read(4)
    return refused.value.detail


def test_compressed_rows_say_what_the_matrix_says():
    features = CsrRows(INDPTR, INDICES, VALUES).read(4)
    assert (features.to_dense() == MATRIX).all()


def test_values_that_are_left_out_are_ones():
    assert CsrRows([0, 2], [0, 3]).read(4).to_dense().tolist() == [[1, 0, 0, 1]]
    assert ACROSS_ROWS.read(4).to_dense().tolist() == [[0, 0, 0, 1], [0, 0, 0, 1]]


@pytest.mark.parametrize("values", [None, []])
def test_rows_may_all_be_empty(values):
    features = CsrRows([0, 0, 0], [], values).read(4)
    assert features.to_dense().tolist() == [[0] * 4] * 2
    assert graph_inputs(features, "sparse")["feature_ids"].tolist() == [[4], [4]]


@pytest.mark.parametrize(
    ("rows", "detail"),
    [
        (CsrRows([1, 2], [0]), "features.indptr[0]: expected 0, got 1"),
        (CsrRows([0, 2, 1, 2], [0, 1]), "features.indptr[2]: expected no less than before, got 1 after 2"),
        (
            CsrRows(
                [0, 2**63 - 1, -(2**63), -1, 2], [0, 1]
            ),  # modulo 2**64, none is less than the one before
            f"features.indptr[2]: expected no less than before, got {-(2**63)} after {2**63 - 1}",
        ),
        (CsrRows([0, 1], [0, 1]), "features.indptr[1]: expected 2, the length of indices, got 1"),
        (CsrRows([0, 3], [0, 1]), "features.indptr[1]: expected 2, the length of indices, got 3"),
        (CsrRows([0], [1]), "features.indptr[0]: expected 1, the length of indices, got 0"),
        (CsrRows([0, 2], [0, 4]), "features.indices[1]: expected a column from 0 to 3, got 4"),
        (CsrRows([0, 1], [-1]), "features.indices[0]: expected a column from 0 to 3, got -1"),
        (
            CsrRows([0, 1, 3], [3, 2, 2]),
            "features.indices[2]: expected columns that rise within a row, got 2 after 2",
        ),
        (
            CsrRows([0, 2], [3, 2]),
            "features.indices[1]: expected columns that rise within a row, got 2 after 3",
        ),
        (CsrRows([0, 1], [0], []), "features.values: expected 1 numbers, one for each of indices, got 0"),
        (
            CsrRows([0, 1], [0], [1.0, 2.0]),
            "features.values: expected 1 numbers, one for each of indices, got 2",
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
    assert (graph_inputs(given, "dense")["features"] == MATRIX).all()
    padded = graph_inputs(given, "sparse")
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
    with pytest.raises(InvalidRequestError, match="expected at most 50 non-zeros a row, got 51 in row 1"):
        check_lengths(rows_of_lengths(1, 51, 2).lengths, sparse_bundle.manifest)


def test_a_long_row_is_refused_among_too_many_that_would_be_padded_to_it(sparse_bundle, monkeypatch):
    monkeypatch.setattr(features, "MAX_PADDED", 100)
    check_lengths(rows_of_lengths(1, 50).lengths, sparse_bundle.manifest)
    check_lengths(rows_of_lengths(*[10] * 10).lengths, sparse_bundle.manifest)
    message = "expected at most 2 rows together with one of 50 non-zeros, got 3"
    with pytest.raises(InvalidRequestError, match=message):
        check_lengths(rows_of_lengths(1, 50, 2).lengths, sparse_bundle.manifest)


def test_rows_without_a_single_word_are_never_too_long(sparse_bundle):
    rows = csr_from_dense(np.zeros((5, 200), np.float32))
    assert check_lengths(rows.lengths, sparse_bundle.manifest) == 1


def pair(ids, values):
    return PaddedPair(np.array(ids, np.int64), np.array(values, np.float32))


def padded_refusal(ids, values):
    with pytest.raises(InvalidRequestError) as refused:
        pair(ids, values).read(F=5)
    return refused.value.detail


def test_padded_rows_are_passed_on_no_wider_than_their_longest():
    sent = pair([[0, 4, 5, 5], [2, 5, 5, 5]], [[1, 2, 0, 0], [3, 0, 0, 0]])
    rows = sent.read(F=5)
    assert rows.ids.tolist() == [[0, 4], [2, 5]]
    assert rows.values.tolist() == [[1, 2], [3, 0]]
    assert np.shares_memory(rows.ids, sent.ids)
    assert np.shares_memory(rows.values, sent.values)
    assert graph_inputs(rows, "sparse")["feature_ids"] is rows.ids
    assert graph_inputs(rows, "dense")["features"].tolist() == [[1, 0, 0, 0, 2], [0, 0, 3, 0, 0]]


def test_padded_rows_may_hold_nothing():
    rows = pair([[5, 5]], [[0, 0]]).read(F=5)
    assert rows.ids.tolist() == [[5]]
    assert not graph_inputs(rows, "dense")["features"].any()


@pytest.mark.parametrize(
    ("ids", "values", "said"),
    [
        ([[0, 5]], [[1]], "feature_values: expected shape [1, 2] as feature_ids, got [1, 1]"),
        ([[]], [[]], "feature_ids: expected at least one entry a row, got none"),
        ([[0, 6]], [[1, 1]], "feature_ids[0][1]: expected a column from 0 to 4, or 5 as padding, got 6"),
        (
            [[0, 5], [-1, 5]],
            [[1, 0]] * 2,
            "feature_ids[1][0]: expected a column from 0 to 4, or 5 as padding, got -1",
        ),
        ([[1, 1]], [[1, 1]], "feature_ids[0][1]: expected columns that rise, then padding, got 1 after 1"),
        ([[5, 1]], [[0, 1]], "feature_ids[0][1]: expected columns that rise, then padding, got 1 after 5"),
        ([[0, 5]], [[1, 1]], "feature_values[0][1]: expected 0 beside padding, got 1.0"),
        ([[0, 5]], [[np.nan, 0]], "feature_values[0][0]: not a finite number"),
    ],
)
def test_padded_rows_that_do_not_fit_are_refused(ids, values, said):
    assert padded_refusal(ids, values).startswith(said)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.1e15])
def test_an_array_is_checked_as_a_list_is_and_passed_on_as_it_is(value):
    matrix = np.ones((2, 3), np.float32)
    assert read_matrix("features", matrix, 3) is matrix
    with pytest.raises(InvalidRequestError, match=r"features\[0\]: expected 4 numbers, got 3"):
        read_matrix("features", matrix, 4)
    matrix[1, 2] = value
    with pytest.raises(InvalidRequestError, match=r"features\[1\]\[2\]: not a finite number"):
        read_matrix("features", matrix, 3)
