"""What every test may use."""

import os
import shutil
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent


@pytest.fixture
def tiny_bundle(tmp_path: Path) -> Path:
    """A private copy of a real bundle: 20 nodes, 12 features, 4-wide positions, 3 classes."""
    return Path(shutil.copytree(TESTS / "data" / "tiny_bundle", tmp_path / "tiny_bundle"))


@pytest.fixture(scope="session")
def graph_data_root() -> Path:
    """The folder with real graphs; tests that need it are skipped, and counted, where it is not set."""
    root = os.environ.get("GRAPH_DATA_ROOT")
    if not root:
        pytest.skip("GRAPH_DATA_ROOT is not set")
    return Path(root)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "graph_data_root" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real_data)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [
        report for report in terminalreporter.stats.get("skipped", []) if "real_data" in report.keywords
    ]
    if skipped:
        terminalreporter.write_line(
            f"{len(skipped)} tests on real graphs skipped: set GRAPH_DATA_ROOT to run them"
        )
