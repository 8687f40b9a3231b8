"""Grafana itself is not at hand: what it would show is checked in the JSON that it is given."""

import re

import pytest
import yaml

from tests.deployment.monitoring import (
    DASHBOARDS,
    DOCKER,
    PromQuery,
    alert_rules,
    annotation_queries,
    dashboard_queries,
    panels_of,
    read_dashboard,
    recorded_series,
    variable_queries,
)

UNITS = {"none", "reqps", "rowsps", "ops", "s", "bytes", "percentunit", "bool_yes_no"}  # of Grafana
SERVICE = DOCKER / "grafana/dashboards/service.json"
OF_ALL_ROUTES = "service, Refused keys A"  # whichever are chosen
each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)


def labels_of_metrics():
    """The labels of each metric as docs/operations.md lists them, and `instance`, which Prometheus adds."""
    page = (DOCKER.parent / "docs/operations.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (?:counter|gauge|histogram) \| ([^|]*) \|", page, re.MULTILINE)
    return {name: {"instance", *re.findall(r"`(\w+)`", labels)} for name, labels in rows}


def variables_of(dashboard):
    return {variable["name"]: variable for variable in read_dashboard(dashboard)["templating"]["list"]}


def test_panels_ask_the_provisioned_data_source():
    sources = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yml").read_text())
    (uid,) = [source["uid"] for source in sources["datasources"]]
    for path in DASHBOARDS:
        owners = [
            *panels_of(path),
            *variables_of(path).values(),
            *read_dashboard(path)["annotations"]["list"],
        ]
        assert {owner["datasource"]["uid"] for owner in owners} == {uid}


def test_the_dashboards_are_two_and_lead_to_each_other():
    boards = [read_dashboard(path) for path in DASHBOARDS]
    assert [board["uid"] for board in boards] == ["rbm-model-quality", "rbm-service"]
    for board in boards:
        assert [(link["type"], link["tags"]) for link in board["links"]] == [("dashboards", board["tags"])]
        assert board["schemaVersion"] >= 39
        assert not board["editable"]


@each_dashboard
def test_every_panel_says_what_its_numbers_are_and_what_they_mean(dashboard):
    for panel in panels_of(dashboard):
        assert re.fullmatch(r"[A-Z].{20,}\.", panel["description"]), panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        shows_words = "mappings" in defaults or panel["options"].get("textMode") == "name"
        assert (defaults["unit"] == "none") == shows_words, panel["title"]
        assert defaults["unit"] in UNITS or re.match("suffix: ?[^ ]", defaults["unit"]), panel["title"]


@each_dashboard
def test_panels_and_queries_are_told_apart(dashboard):
    numbers = [panel["id"] for panel in read_dashboard(dashboard)["panels"]]
    titles = [panel["title"] for panel in panels_of(dashboard)]
    assert sorted(set(numbers)) == sorted(numbers)
    assert sorted(set(titles)) == sorted(titles)
    for panel in panels_of(dashboard):
        names = [target["refId"] for target in panel["targets"]]
        assert names == list("ABCDEF")[: len(names)], panel["title"]


@each_dashboard
def test_panels_do_not_lie_on_each_other(dashboard):
    taken = set()
    for panel in read_dashboard(dashboard)["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + line)
            for column in range(place["w"])
            for line in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(column for column, _ in cells) < 24
        taken |= cells


@each_dashboard
def test_thresholds_rise_from_a_colour_of_their_own(dashboard):
    with_thresholds = [
        panel["fieldConfig"]["defaults"]["thresholds"]
        for panel in panels_of(dashboard)
        if "thresholds" in panel["fieldConfig"]["defaults"]
    ]
    assert with_thresholds
    for thresholds in with_thresholds:
        first, *others = [step["value"] for step in thresholds["steps"]]
        assert thresholds["mode"] == "absolute"
        assert first is None
        assert others == sorted(set(others))
        assert others


@pytest.mark.parametrize(
    ("alert", "title"),
    [
        ("RbmErrors", "Answered with 5xx"),
        ("RbmSlow", "Latency by route"),
        ("RbmSlow", "Latency, 99th percentile"),
        ("RbmQueueFilling", "Queue over its capacity"),
        ("RbmKeysRefused", "Refused keys"),
        ("RbmEngineRestarting", "Engine restarts in 1 h"),
        ("RbmErrorBudgetBurningFast", "Burn rate"),
        ("RbmErrorBudgetBurningFast", "Burn rate over 1 h"),
        ("RbmErrorBudgetBurningSlowly", "Burn rate over 3 d"),
    ],
)
def test_a_panel_draws_the_line_at_which_its_alert_fires(alert, title):
    (rule,) = [rule for rule in alert_rules() if rule["alert"] == alert]
    (panel,) = [panel for panel in panels_of(SERVICE) if panel["title"] == title]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[-1]["value"] in map(float, re.findall(r"> ([\d.]+)", rule["expr"]))
    assert f"The alert {alert} fires" in panel["description"]


@each_dashboard
def test_several_values_or_all_may_be_chosen_in_every_variable(dashboard):
    for variable in variables_of(dashboard).values():
        assert variable["multi"]
        assert variable["includeAll"]
        assert variable["allValue"] == ".*"
        assert re.fullmatch(r"label_values\(\w+(\{.+\})?, \w+\)", variable["query"])


def test_the_routes_that_classify_are_chosen_at_first():
    route = variables_of(SERVICE)["route"]
    infer = ["/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"]
    assert route["current"] == {"text": ["/classify", *infer], "value": ["/classify", *infer]}


@each_dashboard
def test_every_variable_is_used_and_every_used_one_is_there(dashboard):
    texts = [*dashboard_queries(), *annotation_queries(), *variable_queries()]
    used = set().union(
        *(query.variables() for query in texts if query.place.startswith(f"{dashboard.stem},"))
    )
    assert used == set(variables_of(dashboard))


@pytest.mark.parametrize("query", dashboard_queries() + annotation_queries(), ids=lambda query: query.place)
def test_a_query_heeds_every_variable_whose_label_its_series_have(query):
    labels = labels_of_metrics()
    (dashboard,) = [path for path in DASHBOARDS if query.place.startswith(f"{path.stem},")]
    choices = set(variables_of(dashboard)) - ({"route"} if query.place == OF_ALL_ROUTES else set())
    for series, matchers in query.selectors():
        metric = series if series in labels else re.sub("_(bucket|sum|count)$", "", series)
        having = set() if series in recorded_series() else labels.get(metric, {"instance"})
        for variable in choices & having:
            assert f'{variable}=~"${variable}"' in matchers, series


def test_no_latency_panel_is_of_one_route_alone():
    for query in dashboard_queries():
        if "rbm_http_request_duration_seconds_bucket" in query.metrics():
            assert 'route=~"$route"' in query.expression
            assert "by (route, le)" in query.expression


@each_dashboard
def test_changes_of_the_version_are_marked(dashboard):
    (annotation,) = read_dashboard(dashboard)["annotations"]["list"]
    assert annotation["enable"]
    assert PromQuery("", annotation["target"]["expr"]).metrics() == {"rbm_model_info"}
    assert "{{model_version}}" in annotation["titleFormat"]
