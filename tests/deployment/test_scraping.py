"""A real Prometheus scrapes a real service under load; skipped only where Prometheus is not installed."""

import shutil

import pytest

from tests.deployment.monitoring import alert_queries, dashboard_queries
from tests.deployment.scraping import (
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
        wait_until(lambda: all_evaluated(address), "every alert was evaluated")
        yield address


def test_no_panel_is_empty(scraped):
    empty = [query.place for query in dashboard_queries() if not numbers_for(scraped, query.filled_in("1m"))]
    assert empty == []


def test_every_alert_is_evaluated_over_series_that_are_there(scraped):
    assert {rule["name"]: rule["health"] for rule in rules(scraped) if rule["health"] != "ok"} == {}
    read = set().union(*(query.metrics() for query in alert_queries()))
    assert [name for name in sorted(read) if not ask(scraped, "query", query=name)["result"]] == []
