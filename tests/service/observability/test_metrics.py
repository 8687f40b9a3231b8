import numpy as np
from prometheus_client import generate_latest

from rbm_bundle.manifest import NO_EXPERT
from rbm_service.observability.journal import MOST_ENTRIES
from rbm_service.observability.metrics import Metrics
from rbm_service.observability.model_metrics import ROWS_PER_ENTRY

TWO_REDS = np.array([0, 0]), np.array([0.5, 0.5])


def experts_of(num_rows):
    """Of two layers, one expert in each."""
    return np.zeros((num_rows, 2, 1), np.int64)


def test_two_services_in_one_process_count_apart():
    one, other = Metrics(), Metrics()
    one.http_requests.labels("/classify", "POST", 200).inc()
    assert b'rbm_http_requests_total{code="200"' in generate_latest(one.registry)
    assert b'rbm_http_requests_total{code="200"' not in generate_latest(other.registry)


def test_failures_and_lookups_start_at_zero(metrics, model_metrics):
    value = metrics.registry.get_sample_value
    assert value("rbm_inference_failures_total", {"reason": "rejected"}) == 0
    assert value("rbm_position_lookups_total", {"model_name": "tiny", "result": "missing"}) == 0


def test_positions_are_counted_by_where_they_came_from(metrics, model_metrics):
    model_metrics.count_positions(["cached", "neighbors", "cached"])
    value = metrics.registry.get_sample_value
    assert value("rbm_position_lookups_total", {"model_name": "tiny", "result": "cached"}) == 2
    assert value("rbm_position_lookups_total", {"model_name": "tiny", "result": "neighbors"}) == 1


def test_experts_are_counted_by_layer(metrics, model_metrics):
    model_metrics.count_batch(1, np.array([[[0, 1], [3, 2]], [[0, 2], [3, 1]]]), *TWO_REDS)
    value = metrics.registry.get_sample_value
    counts = [
        [
            value(
                "rbm_expert_selected_total",
                {"model_name": "tiny", "layer": str(layer), "expert": str(expert)},
            )
            for expert in range(4)
        ]
        for layer in range(2)
    ]
    assert counts == [[2, 1, 1, 0], [0, 1, 1, 2]]


def test_places_that_a_layer_leaves_empty_count_for_no_expert(metrics, model_metrics):
    model_metrics.count_batch(1, np.array([[[0, NO_EXPERT], [3, 2]], [[0, NO_EXPERT], [3, 1]]]), *TWO_REDS)
    value = metrics.registry.get_sample_value
    counts = [
        value("rbm_expert_selected_total", {"model_name": "tiny", "layer": "0", "expert": str(expert)})
        for expert in range(4)
    ]
    assert counts == [2, 0, 0, 0]


def test_predictions_are_counted_by_class_with_their_confidence(metrics, model_metrics):
    model_metrics.count_batch(2, experts_of(3), np.array([0, 2, 0]), np.array([0.5, 0.25, 1.0]))
    value = metrics.registry.get_sample_value
    assert value("rbm_prediction_class_total", {"model_name": "tiny", "label": "red"}) == 2
    assert value("rbm_prediction_class_total", {"model_name": "tiny", "label": "green"}) == 0
    assert value("rbm_confidence_sum", {"model_name": "tiny", "label": "red"}) == 1.5
    assert value("rbm_confidence_count", {"model_name": "tiny", "label": "blue"}) == 1


def test_batches_of_many_rows_are_not_kept_for_long(metrics, model_metrics):
    num_rows = MOST_ENTRIES * ROWS_PER_ENTRY // 4
    outputs = experts_of(num_rows), np.zeros(num_rows, np.int64), np.full(num_rows, 0.5)
    for _ in range(4):
        model_metrics.count_batch(1, *outputs)
    assert not metrics.journal.open_pages


def test_of_a_model_that_is_forgotten_no_series_is_left(metrics, model_metrics):
    model_metrics.count_batch(1, experts_of(1), np.array([0]), np.array([0.5]))
    model_metrics.engine_healthy.set(1)
    metrics.forget_model("tiny")
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    assert not [sample for sample in samples if sample.labels.get("model_name") == "tiny"]
