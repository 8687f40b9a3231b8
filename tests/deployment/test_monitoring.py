import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from rbm_service.app import create_app
from rbm_service.observability.metrics import Metrics
from rbm_service.settings import Settings
from tests.deployment.monitoring import (
    ALERTS,
    DOCKER,
    PromQuery,
    alert_rules,
    annotation_queries,
    dashboard_queries,
    recorded_series,
    rule_queries,
    rules,
    variable_queries,
)

needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
QUERIES = dashboard_queries() + annotation_queries() + variable_queries() + rule_queries()
RUNBOOK_URL = re.compile(r"\{\{ \$externalLabels\.rbm_runbooks \}\}#(\w+)")


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
    query = PromQuery(
        "",
        'sum by (le) (rate(a_total{job="b"}[5m])) / on (x) group_left scalar(c) and d:e:1h > 1 offset 5m',
    )
    assert query.metrics() == {"a_total", "c", "d:e:1h"}
    assert query.selectors() == [("a_total", 'job="b"'), ("c", ""), ("d:e:1h", "")]


def test_the_variables_of_a_query_are_found_and_filled_in():
    query = PromQuery("", 'rate(a{b=~"$route"}[$__rate_interval]) unless a offset $__interval')
    assert query.variables() == {"route"}
    assert query.filled_in("1m") == 'rate(a{b=~".*"}[1m]) unless a offset 1m'


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.place)
def test_a_query_reads_what_the_service_exports_or_a_rule_records(query):
    assert query.metrics() <= exported_series() | recorded_series()
    assert query.metrics() or query.expression.startswith("vector(")


def test_every_metric_of_the_service_is_on_a_dashboard():
    read = set().union(*(query.metrics() for query in dashboard_queries()))
    shown = {re.sub("_(total|bucket|sum|count)$", "", series) for series in read}
    own = {family.name for family in Metrics().registry.collect() if family.name.startswith("rbm_")}
    assert own
    assert own - shown == set()


def test_whatever_an_alert_watches_is_on_a_dashboard():
    shown = set().union(*(query.metrics() for query in dashboard_queries()))
    watched = set().union(*(PromQuery("", rule["expr"]).metrics() for rule in alert_rules()))
    assert watched - shown - recorded_series() == set()


def test_rules_of_latency_and_availability_watch_every_route_that_classifies_and_no_other(tmp_path):
    app = create_app(Settings(models_dir=tmp_path, device="cpu"))
    patterns = set(re.findall(r'route=~"([^"]+)"', ALERTS.read_text()))
    middleware = app.request_middleware
    for pattern in patterns:
        watched = {route for route in middleware.routes if re.fullmatch(pattern, route)}
        assert watched == middleware.inference_routes
    watching = {query.place for query in rule_queries() if "route=~" in query.expression}
    assert {"RbmSlow", "job:rbm_slo_requests:rate5m", "job:rbm_slo_bad_requests:rate5m"} == watching


@pytest.mark.parametrize("rule", alert_rules(), ids=lambda rule: rule["alert"])
def test_every_alert_says_how_bad_it_is_what_it_means_and_what_to_do(rule):
    assert rule["for"]
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert re.fullmatch(r"What it means: .+\. What to do: .+\.", rule["annotations"]["description"])


def test_every_alert_is_seen_to_fire():
    tests = yaml.safe_load((DOCKER / "alerts_test.yml").read_text())["tests"]
    checks = [check for test in tests for check in test["alert_rule_test"]]
    fired = {check["alertname"] for check in checks if check["exp_alerts"]}
    assert fired == {rule["alert"] for rule in alert_rules()}


@pytest.mark.parametrize("rule", alert_rules(), ids=lambda rule: rule["alert"])
def test_every_alert_leads_to_a_section_that_says_how_bad_it_is(rule):
    (anchor,) = RUNBOOK_URL.fullmatch(rule["annotations"]["runbook_url"]).groups()
    page = (DOCKER.parent / "docs/operations.md").read_text()
    sections = re.findall(r"^### (.+)\n\n\*(\w+): ", page, re.MULTILINE)
    severities = {title.lower(): severity.lower() for title, severity in sections}
    assert anchor == rule["alert"].lower()
    assert severities[anchor] == rule["labels"]["severity"]


def test_alerts_link_to_the_address_that_the_environment_names_and_else_to_an_absolute_one():
    labels = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["global"]["external_labels"]
    compose = yaml.safe_load((DOCKER.parent / "docker-compose.yml").read_text())
    address = compose["services"]["prometheus"]["environment"]["RUNBOOKS_URL"]
    assert labels == {"rbm_runbooks": "${RUNBOOKS_URL}"}
    assert re.fullmatch(r"\$\{RUNBOOKS_URL:-https://\S+/docs/operations\.md\}", address)


def test_prometheus_keeps_what_the_longest_window_needs():
    compose = yaml.safe_load((DOCKER.parent / "docker-compose.yml").read_text())
    command = " ".join(compose["services"]["prometheus"]["command"])
    kept_days = int(re.search(r"retention\.time=(\d+)d", command)[1])
    windows = [int(days) for rule in rules() for days in re.findall(r"\[(\d+)d\]", rule["expr"])]
    assert max(windows) < kept_days


@needs_promtool
def test_prometheus_accepts_its_configuration_and_rules():
    promtool("check", "config", DOCKER / "prometheus.yml")
    promtool("check", "rules", ALERTS)


@needs_promtool
def test_alerts_fire_when_they_should_and_else_keep_quiet():
    promtool("test", "rules", DOCKER / "alerts_test.yml")


@needs_promtool
def test_prometheus_understands_the_dashboards(tmp_path):
    queries = dashboard_queries() + annotation_queries() + variable_queries()
    records = [
        {"record": f"panel:{number}", "expr": query.filled_in("1m")} for number, query in enumerate(queries)
    ]
    path: Path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": records}]}))
    promtool("check", "rules", path)
