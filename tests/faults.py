"""Sessions of ONNX Runtime that go wrong, in this process or in that of a service."""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from rbm_service.__main__ import main

Outputs = list[np.ndarray]


def fail(computed: Outputs) -> Outputs:
    raise RuntimeError("CUDA failure 700: an illegal memory access was encountered")


def without_last_row(computed: Outputs) -> Outputs:
    return [output[:-1] for output in computed]


def without_last_column(computed: Outputs) -> Outputs:
    return [output[..., :-1] for output in computed]


def not_a_number(computed: Outputs) -> Outputs:
    return [np.full_like(output, np.nan) if output.dtype.kind == "f" else output for output in computed]


def infinite(computed: Outputs) -> Outputs:
    return [np.full_like(output, np.inf) if output.dtype.kind == "f" else output for output in computed]


DAMAGES = {damage.__name__: damage for damage in (fail, without_last_row, without_last_column, not_a_number)}
DAMAGES["infinite"] = infinite


class Fault:
    """What becomes of the batches of one size, or of all of them; nothing to begin with."""

    def __init__(self) -> None:
        self.damage: Callable[[Outputs], Outputs] | None = None
        self.num_rows: int | None = None
        self.entered = threading.Event()
        self.ended = threading.Event()

    def hang(self, computed: Outputs) -> Outputs:
        """For as long as the test takes, and in a service until it is killed."""
        self.entered.set()
        self.ended.wait()
        return computed

    def begin(self, damage: Callable[[Outputs], Outputs], num_rows: int | None = None) -> None:
        self.damage, self.num_rows = damage, num_rows

    def end(self) -> None:
        self.damage = None
        self.ended.set()

    def apply(self, feeds: dict[str, np.ndarray], computed: Outputs) -> Outputs:
        concerned = self.num_rows in (None, len(next(iter(feeds.values()))))
        return self.damage(computed) if self.damage and concerned else computed


def faulty(run: Callable[..., Outputs], fault: Fault) -> Callable[..., Outputs]:
    """`InferenceSession.run` with a fault."""

    def run_with_fault(session: object, names: Sequence[str], feeds: dict[str, Any]) -> Outputs:
        return fault.apply(feeds, run(session, names, feeds))

    return run_with_fault


def follow_file(fault: Fault, path: Path) -> None:
    """Let a file say what the fault is: `hang` or a name of `DAMAGES`, and a number of rows; without it, none."""
    while True:
        words = []
        with suppress(OSError):
            words = path.read_text().split()
        if words:
            fault.begin(DAMAGES.get(words[0], fault.hang), int(words[1]) if words[1:] else None)
        elif fault.damage:
            fault.end()
        time.sleep(0.01)


def serve_with_fault(path: str) -> int:
    """`rbm-serve`, with the fault that a file describes."""
    fault = Fault()
    onnxruntime.InferenceSession.run = faulty(onnxruntime.InferenceSession.run, fault)
    threading.Thread(target=follow_file, args=(fault, Path(path)), daemon=True).start()
    return main([])


if __name__ == "__main__":
    raise SystemExit(serve_with_fault(sys.argv[1]))
