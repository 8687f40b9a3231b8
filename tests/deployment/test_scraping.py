"""A real Prometheus scrapes a real service under load; skipped only where Prometheus is not installed."""

import shutil

import pytest

from tests.deployment.monitoring import dashboard_queries, rule_queries
from tests.deployment.scraping import (
    RUNBOOKS_URL,
    all_evaluated,
    ask,
    numbers_for,
    prometheus,
    publish_with_shadow,
    put_load_on,
    rules,
    wait_until,
)
from tests.servers import find_free_port, running_server

pytestmark = pytest.mark.skipif(not shutil.which("prometheus"), reason="Prometheus is not installed")


@pytest.fixture(scope="module")
def scraped(tmp_path_factory):
    """The address of a Prometheus that has watched a service under load, which is still there."""
    folder = tmp_path_factory.mktemp("scraped")
    publish_with_shadow(folder / "models")
    metrics_port = find_free_port()
    settings = {"metrics_port": metrics_port, "log_level": "warning"}
    with (
        running_server(folder / "models", folder / "server.log", **settings) as server,
        prometheus(f"127.0.0.1:{metrics_port}", folder) as address,
    ):
        wait_until(lambda: numbers_for(address, "up") == [1], "the service is scraped")
        put_load_on(f"127.0.0.1:{server.port}")
        wait_until(lambda: all_evaluated(address), "every rule was evaluated")
        yield address


def test_no_panel_is_empty(scraped):
    empty = [query.place for query in dashboard_queries() if not numbers_for(scraped, query.filled_in("1m"))]
    assert empty == []


def test_every_rule_is_evaluated_over_series_that_are_there(scraped):
    assert {rule["name"]: rule["health"] for rule in rules(scraped) if rule["health"] != "ok"} == {}
    read = set().union(*(query.metrics() for query in rule_queries()))
    assert [name for name in sorted(read) if not ask(scraped, "query", query=name)["result"]] == []


def test_both_interfaces_are_in_the_latency_panel(scraped):
    (query,) = [query for query in dashboard_queries() if query.place == "service, Latency by route C"]
    routes = {one["metric"]["route"] for one in ask(scraped, "query", query=query.filled_in("1m"))["result"]}
    assert {"/classify", "/v2/models/{model}/infer"} <= routes


def test_an_alert_leads_to_the_address_that_the_environment_names(tmp_path):
    with prometheus(f"127.0.0.1:{find_free_port()}", tmp_path) as address:
        wait_until(lambda: ask(address, "alerts")["alerts"], "an alert is pending")
        (alert,) = ask(address, "alerts")["alerts"]
    assert alert["annotations"]["runbook_url"] == f"{RUNBOOKS_URL}#rbmtargetdown"
