import numpy as np
import pytest

from rbm_training.reporting.report_data import ClassResults, LayerHistory, Reliability


def test_recall_is_read_along_rows_and_precision_along_columns():
    results = ClassResults(("a", "b"), np.array([[6, 2], [3, 9]]), np.array([0.5, 0.5]))
    assert results.num_nodes.tolist() == [8, 12]
    assert results.recall.tolist() == [6 / 8, 9 / 12]
    assert results.precision.tolist() == [6 / 9, 9 / 11]
    assert results.row_shares.tolist() == [[0.75, 0.25], [0.25, 0.75]]


def test_a_class_without_test_nodes_has_no_recall_and_one_never_answered_no_precision():
    results = ClassResults(("a", "b"), np.array([[4, 0], [0, 0]]), np.array([1.0, np.nan]))
    assert np.isnan(results.recall[1])
    assert np.isnan(results.precision[1])


def test_the_expected_error_weighs_gaps_by_nodes_and_skips_empty_bins():
    bins = Reliability(np.array([np.nan, 0.6, 0.9]), np.array([np.nan, 0.5, 0.9]), np.array([0, 3, 1]))
    assert bins.expected_error == pytest.approx(0.075)


def test_balance_is_one_for_even_use_and_zero_for_a_collapse():
    even, collapsed, unrouted = [0.25] * 4, [0, 1, 0, 0], [np.nan] * 4
    layer = LayerHistory(0, np.array([unrouted, even, collapsed]), np.full(3, np.nan))
    assert np.isnan(layer.balance[0])
    assert layer.balance[1:] == pytest.approx([1, 0])
