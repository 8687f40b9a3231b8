import json
import re
import shutil
import subprocess

import pytest
import yaml

from rbm_service.observability.metrics import Metrics
from tests.deployment.monitoring import (
    DASHBOARDS,
    DOCKER,
    NodeQuery,
    alert_queries,
    alert_rules,
    dashboard_queries,
    panels_of,
)

needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
QUERIES = dashboard_queries() + alert_queries()


def exported_series():
    names = {"up"}  # Prometheus' own
    for family in Metrics().registry.collect():
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
        names |= {family.name + ending for ending in endings.get(family.type, [""])}
    return names


def promtool(*arguments):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_series_of_a_query_are_found():
    query = NodeQuery("", 'sum by (le) (rate(a_total{job="b"}[5m])) / on (x) group_left scalar(c) and d > 1')
    assert query.metrics() == {"a_total", "c", "d"}


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.place)
def test_a_query_reads_what_the_service_exports(query):
    assert query.metrics()
    assert query.metrics() <= exported_series()


def test_every_metric_of_the_service_is_on_a_dashboard():
    read = set().union(*(query.metrics() for query in dashboard_queries()))
    shown = {re.sub("_(total|bucket|sum|count)$", "", series) for series in read}
    own = {family.name for family in Metrics().registry.collect() if family.name.startswith("rbm_")}
    assert own
    assert own - shown == set()


def test_every_alert_says_how_bad_it_is_and_what_it_means():
    for rule in alert_rules():
        assert rule["for"]
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}


def test_every_alert_is_seen_to_fire():
    tests = yaml.safe_load((DOCKER / "alerts_test.yml").read_text())["tests"]
    checks = [check for test in tests for check in test["alert_rule_test"]]
    fired = {check["alertname"] for check in checks if check["exp_alerts"]}
    assert fired == {rule["alert"] for rule in alert_rules()}


@pytest.mark.parametrize("rule", list(alert_rules()), ids=lambda rule: rule["alert"])
def test_every_alert_leads_to_a_section_that_says_how_bad_it_is(rule):
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    sections = re.findall(r"^### (.+)\n\n\*(\w+): ", (DOCKER.parent / page).read_text(), re.MULTILINE)
    severities = {title.lower(): severity.lower() for title, severity in sections}
    assert anchor == rule["alert"].lower()
    assert severities[anchor] == rule["labels"]["severity"]


def test_panels_ask_the_provisioned_data_source():
    sources = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yml").read_text())
    (uid,) = [source["uid"] for source in sources["datasources"]]
    for dashboard in DASHBOARDS:
        variables = json.loads(dashboard.read_text())["templating"]["list"]
        assert {owner["datasource"]["uid"] for owner in [*panels_of(dashboard), *variables]} == {uid}


def test_the_dashboards_are_two_and_lead_to_each_other():
    boards = [json.loads(dashboard.read_text()) for dashboard in DASHBOARDS]
    assert [board["uid"] for board in boards] == ["rbm-model-quality", "rbm-service"]
    for board in boards:
        assert [(link["type"], link["tags"]) for link in board["links"]] == [("dashboards", board["tags"])]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_says_what_its_numbers_are(dashboard):
    for panel in panels_of(dashboard):
        unit = panel["fieldConfig"]["defaults"]["unit"]
        shows_words = (
            "mappings" in panel["fieldConfig"]["defaults"] or panel["options"].get("textMode") == "name"
        )
        assert (unit == "none") if shows_words else (unit not in {"none", "short"}), panel["title"]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_do_not_lie_on_each_other(dashboard):
    taken = set()
    for panel in json.loads(dashboard.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + line)
            for column in range(place["w"])
            for line in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(column for column, _ in cells) < 24
        taken |= cells


@needs_promtool
def test_prometheus_accepts_its_configuration_and_rules():
    promtool("check", "config", DOCKER / "prometheus.yml")
    promtool("check", "rules", DOCKER / "alerts.yml")


@needs_promtool
def test_alerts_fire_when_they_should_and_else_keep_quiet():
    promtool("test", "rules", DOCKER / "alerts_test.yml")


@needs_promtool
def test_prometheus_understands_the_dashboards(tmp_path):
    rules = [
        {"record": f"panel:{number}", "expr": query.filled_in("1m")}
        for number, query in enumerate(dashboard_queries())
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "rules.yml")
