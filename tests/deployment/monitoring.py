"""What Prometheus and Grafana are given here: rules, alerts, dashboards and all their queries."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

DOCKER: Final = Path(__file__).parents[2] / "docker"
DASHBOARDS: Final = sorted((DOCKER / "grafana" / "dashboards").glob("*.json"))
ALERTS: Final = DOCKER / "alerts.yml"

GROUPING = r"\b(?:by|on|without|ignoring|group_left|group_right)\b\s*(?:\([^)]*\))?"
DURATION = r"\boffset\s+\S+"
NOT_A_NAME = re.compile(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:and|or|unless)\b|' + f"{GROUPING}|{DURATION}")
NAME = re.compile(r"\b[a-zA-Z_:][a-zA-Z0-9_:]*\b(?!\s*\()")
SELECTOR = re.compile(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([^}]*)\})?(?!\w|\s*\()")
VARIABLE = re.compile(r"\$(\w+)")


@dataclass(frozen=True, slots=True)
class PromQuery:
    """A query, and where it stands."""

    place: str
    expression: str

    def metrics(self) -> set[str]:
        """The names of the series it reads."""
        return set(NAME.findall(NOT_A_NAME.sub(" ", self.expression)))

    def selectors(self) -> list[tuple[str, str]]:
        """The name of each series it reads, with the matchers of its labels."""
        names = self.metrics()
        return [found for found in SELECTOR.findall(self.expression) if found[0] in names]

    def variables(self) -> set[str]:
        """The variables of the dashboard that it uses, Grafana's own excepted."""
        return {name for name in VARIABLE.findall(self.expression) if not name.startswith("__")}

    def filled_in(self, window: str) -> str:
        """The query as Grafana sends it when everything is chosen in every variable."""
        timed = re.sub(r"\$__(rate_)?interval", window, self.expression)
        return VARIABLE.sub(".*", timed)


def read_dashboard(path: Path) -> dict[str, Any]:
    """A dashboard as Grafana is given it."""
    dashboard: dict[str, Any] = json.loads(path.read_text())
    return dashboard


def panels_of(path: Path) -> list[dict[str, Any]]:
    """The panels of a dashboard that show something."""
    return [panel for panel in read_dashboard(path)["panels"] if panel["type"] != "row"]


def dashboard_queries() -> list[PromQuery]:
    """Every query of every panel."""
    return [
        PromQuery(f"{path.stem}, {panel['title']} {target['refId']}", target["expr"])
        for path in DASHBOARDS
        for panel in panels_of(path)
        for target in panel["targets"]
    ]


def annotation_queries() -> list[PromQuery]:
    """The queries of the annotations, which find something only when a version changes."""
    return [
        PromQuery(f"{path.stem}, {annotation['name']}", annotation["target"]["expr"])
        for path in DASHBOARDS
        for annotation in read_dashboard(path)["annotations"]["list"]
    ]


def variable_queries() -> list[PromQuery]:
    """The series from which the variables take what can be chosen."""
    return [
        PromQuery(
            f"{path.stem}, ${variable['name']}", variable["query"].removeprefix("label_values(").split(",")[0]
        )
        for path in DASHBOARDS
        for variable in read_dashboard(path)["templating"]["list"]
    ]


def rules() -> list[dict[str, Any]]:
    """Every rule as it is written: those that record a series, and the alerts."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def alert_rules() -> list[dict[str, Any]]:
    """Every alert as it is written."""
    return [rule for rule in rules() if "alert" in rule]


def recorded_series() -> set[str]:
    """The names of the series that Prometheus computes for itself."""
    return {rule["record"] for rule in rules() if "record" in rule}


def rule_queries() -> list[PromQuery]:
    """What every rule asks, alerts and records."""
    return [PromQuery(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
