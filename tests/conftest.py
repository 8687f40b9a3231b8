"""What every test may use."""

import os
import shutil
from pathlib import Path

import hypothesis
import pytest

from tests.bundles import repository_of
from tests.chromium import why_no_chromium
from tests.cuda import why_no_cuda

# The same examples every time, and no limit on what a busy machine may take for one.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("steady")

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent


@pytest.fixture
def tiny_bundle(tmp_path: Path) -> Path:
    """A private copy of a real bundle: 20 nodes, 12 features, 4-wide positions, 3 classes."""
    return Path(shutil.copytree(TESTS / "data" / "tiny_bundle", tmp_path / "tiny_bundle"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-cuda",
        action="store_true",
        help="fail, instead of skipping the tests of CUDA, without a GPU",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--require-cuda") and (reason := why_no_cuda()):
        raise pytest.UsageError(f"--require-cuda, but no GPU can be used: {reason}")
    if os.environ.get("REQUIRE_CHROMIUM") and (reason := why_no_chromium()):
        raise pytest.UsageError(f"REQUIRE_CHROMIUM is set, but {reason}")


@pytest.fixture(scope="session")
def cuda_device() -> None:
    """A GPU; tests that need one are skipped, and say why, where there is none."""
    if reason := why_no_cuda():
        pytest.skip(f"no GPU can be used: {reason}")


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
        if "cuda_device" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.cuda)
        if item.path.is_relative_to(TESTS / "system"):
            item.add_marker(pytest.mark.system)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [
        report for report in terminalreporter.stats.get("skipped", []) if "real_data" in report.keywords
    ]
    if skipped:
        terminalreporter.write_line(
            f"{len(skipped)} tests on real graphs skipped: set GRAPH_DATA_ROOT to run them"
        )


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of one version, for those who only read it."""
    root = tmp_path_factory.mktemp("models")
    repository_of(root)
    return root
