"""What Prometheus is asked here: the queries of the dashboards and those of the alerts."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DOCKER = Path(__file__).parents[2] / "docker"
DASHBOARDS = sorted((DOCKER / "grafana" / "dashboards").glob("*.json"))
ALERTS = DOCKER / "alerts.yml"

GROUPING = r"\b(?:by|on|without|ignoring|group_left|group_right)\b\s*(?:\([^)]*\))?"
NOT_A_NAME = re.compile(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:and|or|unless)\b|' + GROUPING)
NAME = re.compile(r"\b[a-zA-Z_:][a-zA-Z0-9_:]*\b(?!\s*\()")


@dataclass(frozen=True, slots=True)
class NodeQuery:
    """A query, and where it stands."""

    place: str
    expression: str

    def metrics(self) -> set[str]:
        """The names of the series it reads."""
        return set(NAME.findall(NOT_A_NAME.sub(" ", self.expression)))

    def filled_in(self, window: str) -> str:
        """The query as Grafana sends it when every instance and every model is chosen."""
        everything = self.expression.replace("$instance", ".*").replace("$model_name", ".*")
        return everything.replace("$__rate_interval", window)


def panels_of(dashboard: Path) -> list[dict[str, Any]]:
    """The panels that show something."""
    return [panel for panel in json.loads(dashboard.read_text())["panels"] if panel["type"] != "row"]


def dashboard_queries() -> list[NodeQuery]:
    """Every query of every dashboard."""
    return [
        NodeQuery(f"{dashboard.stem}, {panel['title']} {target['refId']}", target["expr"])
        for dashboard in DASHBOARDS
        for panel in panels_of(dashboard)
        for target in panel["targets"]
    ]


def alert_rules() -> Iterator[dict[str, object]]:
    """Every alert, as it is written."""
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        yield from group["rules"]


def alert_queries() -> list[NodeQuery]:
    """The condition of every alert."""
    return [NodeQuery(rule["alert"], rule["expr"]) for rule in alert_rules()]
