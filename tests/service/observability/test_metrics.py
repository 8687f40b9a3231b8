from prometheus_client import generate_latest

from rbm_service.observability.metrics import Metrics
from rbm_service.observability.model_metrics import ModelMetrics

INFO = ("0123456789ab", "cpu", "CPUExecutionProvider", "1.31.1")  # and name and version before these


def series_of(metrics, **labels):
    """Everything that has these labels."""
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    return [sample for sample in samples if labels.items() <= sample.labels.items()]


def test_two_services_in_one_process_count_apart():
    one, other = Metrics(), Metrics()
    one.rbm_http_requests_total.labels("/classify", "POST", 200).inc()
    assert b'rbm_http_requests_total{code="200"' in generate_latest(one.registry)
    assert b'rbm_http_requests_total{code="200"' not in generate_latest(other.registry)


def test_failures_and_lookups_and_lost_log_lines_start_at_zero(metrics, model_metrics):
    value = metrics.registry.get_sample_value
    assert value("rbm_inference_failures_total", {"reason": "rejected"}) == 0
    assert value("rbm_position_lookups_total", {"model_name": "tiny", "result": "missing"}) == 0
    assert value("rbm_log_lines_dropped_total") is not None


def test_one_version_at_a_time_is_shown_as_the_one_in_service(metrics):
    metrics.show_model("tiny", 1, *INFO)
    metrics.show_model("tiny", 2, *INFO)
    (shown,) = [sample for sample in series_of(metrics, model_name="tiny") if "bundle_id" in sample.labels]
    assert (shown.labels["model_version"], shown.value) == ("2", 1)


def test_a_forgotten_version_leaves_no_series_and_the_others_keep_theirs(metrics, bundle):
    for version in ("1", "2"):
        manifest = bundle.manifest
        num_experts = manifest.architecture.num_experts
        ModelMetrics(metrics, "tiny", version, manifest.labels, num_experts).show()
    of_second, of_name = series_of(metrics, model_version="2"), series_of(metrics, model_name="tiny")
    metrics.forget(model_name="tiny", model_version=1)
    assert series_of(metrics, model_version="1") == []
    assert series_of(metrics, model_version="2") == of_second
    assert len(series_of(metrics, model_name="tiny")) == len(of_name) - len(of_second)


def test_a_forgotten_model_leaves_no_series(metrics, model_metrics):
    metrics.rbm_model_loads_total.labels("tiny", "refused")
    metrics.rbm_model_ready.labels("tiny")
    metrics.show_model("tiny", 1, *INFO)
    metrics.forget(model_name="tiny")
    assert series_of(metrics, model_name="tiny") == []
