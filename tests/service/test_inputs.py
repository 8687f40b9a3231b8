import numpy as np
import pytest

from rbm_bundle.features import csr_from_dense
from rbm_service import inputs, shapes
from rbm_service.errors import InvalidRequestError
from rbm_service.inputs import CsrRows, check_lengths, graph_features, in_form, read_csr, read_matrix

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
    check_lengths(rows_of_lengths(1, 50), sparse_bundle.manifest)
    with pytest.raises(InvalidRequestError, match="found 51 non-zeros in row 1, wanted at most 50"):
        check_lengths(rows_of_lengths(1, 51, 2), sparse_bundle.manifest)


def test_a_long_row_is_refused_among_too_many_that_would_be_padded_to_it(sparse_bundle, monkeypatch):
    monkeypatch.setattr(inputs, "MAX_PADDED", 100)
    check_lengths(rows_of_lengths(1, 50), sparse_bundle.manifest)
    check_lengths(rows_of_lengths(*[10] * 10), sparse_bundle.manifest)
    message = "found 3 rows, the longest of 50 non-zeros, wanted at most 2 rows together with one as long"
    with pytest.raises(InvalidRequestError, match=message):
        check_lengths(rows_of_lengths(1, 50, 2), sparse_bundle.manifest)


def test_rows_without_a_single_word_are_never_too_long(sparse_bundle):
    check_lengths(csr_from_dense(np.zeros((5, 200), np.float32)), sparse_bundle.manifest)
