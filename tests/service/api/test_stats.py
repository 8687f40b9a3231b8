import pytest
from starlette.testclient import TestClient

from rbm_bundle import ModelRepository, ShadowSpec
from rbm_service.app import create_app
from rbm_service.settings import Settings
from tests.bundles import TINY
from tests.classifying import classify
from tests.servers import wait_until


def stats_of(client):
    answer = client.get("/stats")
    assert answer.status_code == 200
    return answer.json()


def series_of(client):
    """Every series of /metrics that is about /classify, by name and labels."""
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith("rbm_")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if "/classify" in line}


def test_before_the_first_request_all_counters_are_zero(client):
    stats = stats_of(client)
    assert (stats["draining"], stats["requests"]) == (False, {})
    assert 0 < stats["uptime_seconds"] < 600
    assert stats["latency"]["counts"] == [0] * (len(stats["latency"]["bounds_seconds"]) + 1)
    assert stats["models"] == [
        {
            "name": "tiny",
            "version": 1,
            "requests": 0,
            "rows": 0,
            "queued_rows": 0,
            "queue_capacity_rows": 8192,
            "stage_seconds": dict.fromkeys(
                ("parse", "position_lookup", "queue", "inference", "serialize"), 0.0
            ),
            "shadow": None,
        }
    ]


def test_requests_are_counted_by_status_whichever_route_they_came_by(client):
    classify(client, node_ids=[100, 105])
    client.post("/classify", json={"node_ids": [7]})
    inputs = [{"name": "node_ids", "datatype": "INT64", "shape": [1], "data": [100]}]
    client.post("/v2/models/tiny/infer", json={"inputs": inputs})
    client.get("/info")
    stats = stats_of(client)
    assert stats["requests"] == {"200": 2, "404": 1}
    assert sum(stats["latency"]["counts"]) == 3
    assert stats["latency"]["sum_seconds"] > 0
    (model,) = stats["models"]
    assert (model["requests"], model["rows"], model["queued_rows"]) == (2, 3, 0)
    assert all(seconds > 0 for seconds in model["stage_seconds"].values())


def test_it_says_what_the_metrics_say_and_changes_nothing_of_them(client):
    classify(client, node_ids=[100])
    before, latency = series_of(client), stats_of(client)["latency"]
    assert series_of(client) == before
    assert latency["sum_seconds"] == before['rbm_http_request_duration_seconds_sum{route="/classify"}']


@pytest.fixture
def shadowed(tmp_path):
    repository = ModelRepository(tmp_path)
    for _ in range(2):
        repository.publish(TINY)
    repository.promote("tiny", 1)
    repository.set_shadow("tiny", ShadowSpec(2, 1.0))
    with TestClient(create_app(Settings(models_dir=tmp_path, device="cpu", max_batch_rows=4))) as client:
        wait_until(lambda: stats_of(client)["models"][0]["shadow"], "a shadow")
        yield client


def test_a_shadow_has_counters_of_its_own(shadowed):
    before = shadowed.get("/metrics").text
    nothing = dict.fromkeys(("scored", "dropped", "failed", "agreeing_rows", "disagreeing_rows"), 0)
    assert stats_of(shadowed)["models"][0]["shadow"] == {"version": 2, "share": 1.0, **nothing}
    assert "rbm_shadow_requests_total{" not in before + shadowed.get("/metrics").text
    classify(shadowed, node_ids=[100, 105])
    wait_until(lambda: stats_of(shadowed)["models"][0]["shadow"]["agreeing_rows"], "compared rows")
    shadow = stats_of(shadowed)["models"][0]["shadow"]
    assert (shadow["scored"], shadow["agreeing_rows"], shadow["disagreeing_rows"]) == (1, 2, 0)


def test_a_model_that_is_not_in_service_is_not_listed(client):
    client.app.app_state.models.close()
    stats = stats_of(client)
    assert (stats["draining"], stats["models"]) == (True, [])
