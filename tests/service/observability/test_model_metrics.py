import numpy as np
import pytest

from rbm_bundle.manifest_parts import NO_EXPERT
from rbm_service.observability.metrics import STAGES, Queue
from rbm_service.observability.model_metrics import FEW_ROWS, ModelMetrics, ShadowMetrics
from tests.service.observability.test_metrics import series_of

TWO_REDS = np.array([0, 0]), np.array([0.5, 0.5])
SIZES = [2, 2 * FEW_ROWS + 2]  # counted row by row, and all at once


def experts_of(num_rows):
    """Of two layers, one expert in each."""
    return np.zeros((num_rows, 2, 1), np.int64)


def repeated(rows, num_rows):
    return np.tile(np.array(rows), (num_rows // len(rows), *[1] * (np.ndim(rows) - 1)))


def expert_counts(metrics, layer, num_experts=4):
    labels = {"model_name": "tiny", "layer": str(layer)}
    value = metrics.registry.get_sample_value
    return [
        value("rbm_expert_selected_total", labels | {"expert": str(expert)}) for expert in range(num_experts)
    ]


@pytest.fixture
def make(metrics):
    def make(version, labels=("red", "green", "blue"), num_experts=(4, 4)):
        return ModelMetrics(metrics, "tiny", str(version), labels, num_experts)

    return make


def test_positions_are_counted_by_where_they_came_from(metrics, model_metrics):
    model_metrics.count_request([0.5] * len(STAGES), ["cached", "neighbors", "cached"], 1)
    model_metrics.positions["missing"].inc(4)
    value = metrics.registry.get_sample_value
    counts = {
        result: value("rbm_position_lookups_total", {"model_name": "tiny", "result": result})
        for result in ("cached", "neighbors", "missing", "default")
    }
    assert counts == {"cached": 2, "neighbors": 1, "missing": 4, "default": 0}


def test_a_request_has_its_stages_and_what_was_abstained_from(metrics, model_metrics):
    model_metrics.count_request([0.25 * place for place in range(len(STAGES))], ["cached"], 1)
    value, model = metrics.registry.get_sample_value, {"model_name": "tiny", "model_version": "1"}
    sums = [value("rbm_stage_duration_seconds_sum", model | {"stage": stage}) for stage in STAGES]
    assert sums == [0, 0.25, 0.5, 0.75, 1]
    assert value("rbm_abstained_total", model) == 1
    assert sum(model_metrics.stages["queue"].counts) == 1


@pytest.mark.parametrize("num_rows", SIZES)
def test_experts_are_counted_by_layer(metrics, model_metrics, num_rows):
    experts = repeated([[[0, 1], [3, 2]], [[0, 2], [3, 1]]], num_rows)
    model_metrics.count_batch(1, experts, repeated([0, 0], num_rows), repeated([0.5, 0.5], num_rows))
    times = num_rows // 2
    assert expert_counts(metrics, 0) == [2 * times, times, times, 0]
    assert expert_counts(metrics, 1) == [0, times, times, 2 * times]


@pytest.mark.parametrize("num_rows", SIZES)
def test_places_that_a_layer_leaves_empty_count_for_no_expert(metrics, model_metrics, num_rows):
    experts = repeated([[[0, NO_EXPERT], [3, 2]], [[0, NO_EXPERT], [3, 1]]], num_rows)
    model_metrics.count_batch(1, experts, repeated([0, 0], num_rows), repeated([0.5, 0.5], num_rows))
    assert expert_counts(metrics, 0) == [num_rows, 0, 0, 0]


@pytest.mark.parametrize("num_rows", SIZES)
def test_predictions_are_counted_by_class_with_their_confidence(metrics, model_metrics, num_rows):
    class_index, confidence = repeated([0, 2], num_rows), repeated([0.5, 0.25], num_rows)
    model_metrics.count_batch(2, experts_of(num_rows), class_index, confidence.astype(np.float32))
    value, times = metrics.registry.get_sample_value, num_rows // 2
    assert value("rbm_inference_requests_total", {"model_name": "tiny", "model_version": "1"}) == 2
    assert value("rbm_inference_rows_total", {"model_name": "tiny", "model_version": "1"}) == num_rows
    assert value("rbm_prediction_class_total", {"model_name": "tiny", "label": "red"}) == times
    assert value("rbm_prediction_class_total", {"model_name": "tiny", "label": "green"}) == 0
    assert value("rbm_confidence_sum", {"model_name": "tiny", "label": "red"}) == 0.5 * times
    assert value("rbm_confidence_bucket", {"model_name": "tiny", "label": "red", "le": "0.4"}) == 0
    assert value("rbm_confidence_bucket", {"model_name": "tiny", "label": "red", "le": "0.5"}) == times
    assert value("rbm_confidence_count", {"model_name": "tiny", "label": "blue"}) == times


def test_executions_are_counted_with_their_rows(metrics, model_metrics):
    for num_rows in (3, 5):
        model_metrics.count_execution(num_rows)
    value = metrics.registry.get_sample_value
    assert value("rbm_inference_executions_total", {"model_name": "tiny", "model_version": "1"}) == 2
    assert value("rbm_batch_rows_sum", {"model_name": "tiny"}) == 8
    assert model_metrics.executions.value == 2


def test_a_version_that_is_not_in_service_is_not_seen(metrics, make):
    candidate = make(2)
    candidate.load_seconds = 1.0
    candidate.queues.append(lambda: Queue(1, 1, 1.0, 1, 1.0))
    candidate.count_execution(1)
    assert series_of(metrics, model_name="tiny") == []
    candidate.show()
    value = metrics.registry.get_sample_value
    assert value("rbm_inference_executions_total", {"model_name": "tiny", "model_version": "2"}) == 0
    assert value("rbm_model_load_duration_seconds_count", {"model_name": "tiny"}) == 1


def test_the_next_version_goes_on_with_what_has_no_version(metrics, model_metrics, make):
    model_metrics.count_batch(1, experts_of(2), *TWO_REDS)
    model_metrics.count_execution(2)
    model_metrics.engine_restarts.inc()
    successor = make(2)
    successor.show()
    successor.count_batch(1, experts_of(2), *TWO_REDS)
    model_metrics.count_batch(1, experts_of(2), *TWO_REDS)  # the one before it has not answered all it began
    successor.count_execution(2)
    value, name = metrics.registry.get_sample_value, {"model_name": "tiny"}
    assert value("rbm_prediction_class_total", name | {"label": "red"}) == 6
    assert value("rbm_confidence_count", name | {"label": "red"}) == 6
    assert expert_counts(metrics, 0)[0] == 6
    assert value("rbm_batch_rows_count", name) == 2
    assert value("rbm_engine_restarts_total", name) == 1
    assert value("rbm_inference_rows_total", name | {"model_version": "1"}) == 4
    assert value("rbm_inference_rows_total", name | {"model_version": "2"}) == 2


def test_a_model_that_is_rebuilt_goes_on_with_all_that_it_has_counted(metrics, model_metrics, make):
    model_metrics.count_batch(1, experts_of(2), *TWO_REDS)
    make(1).show()
    value = metrics.registry.get_sample_value
    assert value("rbm_inference_rows_total", {"model_name": "tiny", "model_version": "1"}) == 2


def test_experts_and_classes_that_the_next_version_does_not_have_are_forgotten(metrics, model_metrics, make):
    make(2, labels=["red", "violet"], num_experts=[2]).show()
    names = {
        sample.labels["label"] for sample in series_of(metrics, model_name="tiny") if "label" in sample.labels
    }
    assert names == {"red", "violet"}
    assert expert_counts(metrics, 0) == [0, 0, None, None]
    assert expert_counts(metrics, 1) == [None] * 4


def test_queues_of_two_versions_add_up_and_the_newest_says_how_many_rows_may_wait(
    metrics, model_metrics, make
):
    queues = [lambda: Queue(3, 2, 0.5, 10, 6.0), lambda: Queue(4, 1, 1.0, 20, 4.0)]
    model_metrics.queues.append(queues[0])
    successor = make(2)
    successor.queues.append(queues[1])
    value, name = metrics.registry.get_sample_value, {"model_name": "tiny"}

    def gauges():
        names = ("queue_rows", "queue_requests", "estimated_wait_seconds")
        more = ("queue_capacity_rows", "capacity_rows_per_second")
        return [value(f"rbm_{gauge}", name) for gauge in (*names, *more)]

    assert gauges() == [3, 2, 0.5, 10, 6]
    successor.show()
    assert gauges() == [7, 3, 1.5, 20, 4]
    model_metrics.queues.remove(queues[0])
    assert gauges() == [4, 1, 1, 20, 4]
    successor.queues.remove(queues[1])
    assert gauges() == [0] * 5


def test_a_shadow_that_was_taken_away_leaves_nothing_though_it_is_still_scoring(metrics):
    shadow = ShadowMetrics(metrics, "tiny", 2)
    assert series_of(metrics, shadow_version="2") == []
    shadow.count("dropped")
    shadow.count_scored(0.25, 1, 3, 1)
    value, labels = metrics.registry.get_sample_value, {"model_name": "tiny", "shadow_version": "2"}
    assert value("rbm_shadow_requests_total", labels | {"outcome": "scored"}) == 1
    assert value("rbm_shadow_duration_seconds_sum", labels) == 0.25
    rows = labels | {"model_version": "1"}
    assert value("rbm_shadow_rows_total", rows | {"outcome": "agree"}) == 3
    assert value("rbm_shadow_rows_total", rows | {"outcome": "differ"}) == 1
    assert shadow.counts(version=1) == ({"scored": 1, "dropped": 1, "failed": 0}, {"agree": 3, "differ": 1})
    assert shadow.counts(version=4) == ({"scored": 1, "dropped": 1, "failed": 0}, {"agree": 0, "differ": 0})
    shadow.forget()
    shadow.count("dropped")
    shadow.count_scored(0.25, 1, 3, 1)
    assert series_of(metrics, shadow_version="2") == []
