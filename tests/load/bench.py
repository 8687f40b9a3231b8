"""`make bench`: everything the project says about its speed, measured side by side.

Writes a flat JSON file and renders docs/performance.md from it. Ratios are medians over rounds in which the
sides take turns; absolute times are there for orientation and belong to the machine named beside them.
"""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from tests.load.batcher_bench import batcher_ratio
from tests.load.graph_bench import graph_results
from tests.load.http_bench import HttpBenchError, http_ratios
from tests.load.lone_bench import lone_results
from tests.load.performance import Results, render
from tests.load.teacher_bench import teacher_results


def main(results_file: Path, page: Path) -> None:
    """Measure, write, render."""
    torch.set_num_threads(1)
    results: Results = describe_machine()
    for part in (graph_results, teacher_results, batcher_ratio, lone_results, http_ratios):
        for name, value in part().items():
            results[name] = round(value, 3)
            print(f"{name:42} {value:12.3f}")
    results_file.write_text(json.dumps(results, indent=1) + "\n")
    page.write_text(render(results))
    print(f"written: {results_file}, {page}")


def describe_machine() -> Results:
    """What the absolute times belong to."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "onnxruntime": version("onnxruntime"),
        "torch": version("torch"),
    }


def processor() -> str:
    """Its name, as the kernel gives it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except HttpBenchError as error:
        raise SystemExit(str(error)) from None
