"""`make bench`: how fast the exported graphs are, as ratios measured side by side.

Every ratio comes from rounds that interleave the two sides in one process, one thread each; the median over
rounds is written to a flat JSON file. Absolute times are printed for orientation only.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from rbm_training.export.graphs import build_graph
from rbm_training.export.parity import open_session
from tests.load.production import NUM_FEATURES, POSITION_WIDTH, production_student

BATCHES = (1, 32, 128, 1024)
ROUNDS = 15
ROUND_SECONDS = 0.1
OUTPUTS = ["probabilities", "experts"]


def main(path: Path) -> None:
    """Measure, print and write."""
    torch.set_num_threads(1)
    student = production_student()
    grouped, dense = (open_session(build_graph(student, form, "dense")) for form in ("grouped", "dense"))
    results = {}
    for num_rows in BATCHES:
        feeds = inputs(num_rows)
        sides = compare(partial(grouped.run, OUTPUTS, feeds), partial(dense.run, OUTPUTS, feeds))
        results[f"grouped_over_dense_b{num_rows}"] = report(f"grouped over dense, {num_rows} rows", *sides)
    feeds = inputs(1)
    features, positions = torch.from_numpy(feeds["features"]), torch.from_numpy(feeds["positions"])

    def eager() -> None:
        with torch.inference_mode():
            student(features, positions)

    sides = compare(partial(grouped.run, OUTPUTS, feeds), eager)
    results["ort_over_torch_eager_b1"] = report("ONNX Runtime over torch eager, 1 row", *sides)
    path.write_text(json.dumps(results, indent=2) + "\n")
    print(f"written: {path}")


def inputs(num_rows: int) -> dict[str, np.ndarray]:
    """Random rows."""
    generator = np.random.default_rng(num_rows)
    return {
        "features": generator.standard_normal((num_rows, NUM_FEATURES)).astype(np.float32),
        "positions": generator.standard_normal((num_rows, POSITION_WIDTH)).astype(np.float32),
    }


def compare(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[list[float], list[float]]:
    """Seconds a call of each side, round by round, the two taking turns."""
    repeats = max(1, round(ROUND_SECONDS / max(seconds_per_call(theirs, 3), 1e-6)))
    seconds_per_call(ours, repeats)
    rounds = [(seconds_per_call(ours, repeats), seconds_per_call(theirs, repeats)) for _ in range(ROUNDS)]
    return [mine for mine, _ in rounds], [other for _, other in rounds]


def seconds_per_call(call: Callable[[], object], repeats: int) -> float:
    """Mean wall time of a call."""
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - started) / repeats


def report(title: str, ours: list[float], theirs: list[float]) -> float:
    """Print a row; returns how many times faster ours is, the median over rounds."""
    ratio = statistics.median(other / mine for mine, other in zip(ours, theirs, strict=True))
    times = f"{1e6 * statistics.median(ours):9.0f} µs against {1e6 * statistics.median(theirs):9.0f} µs"
    print(f"{title:40} {ratio:6.2f}×   ({times})")
    return round(ratio, 3)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
