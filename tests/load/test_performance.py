import json
from pathlib import Path

import pytest

from tests.load import gpu_performance
from tests.load.performance import render

ROOT = Path(__file__).parents[2]
RESULTS = json.loads((ROOT / "bench.json").read_text())
GPU_RESULTS = json.loads((ROOT / "gpu.json").read_text())


def test_the_page_says_what_was_measured():
    assert (ROOT / "docs" / "performance.md").read_text() == render(RESULTS)


def test_the_page_about_gpus_says_what_was_measured_on_one():
    assert (ROOT / "docs" / "gpu.md").read_text() == gpu_performance.render(GPU_RESULTS)


@pytest.mark.parametrize("results", [RESULTS, GPU_RESULTS])
def test_the_results_are_flat(results):
    assert {type(value) for value in results.values()} <= {str, int, float}


def test_a_missing_result_is_no_page():
    fewer = {name: value for name, value in RESULTS.items() if name != "grouped_over_dense_b128"}
    with pytest.raises(KeyError, match="grouped_over_dense_b128"):
        render(fewer)
