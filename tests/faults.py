"""Sessions of ONNX Runtime that go wrong, in this process or in that of a service."""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

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


DAMAGES = {
    damage.__name__: damage
    for damage in (fail, without_last_row, without_last_column, not_a_number, infinite)
}


class Fault:
    """What becomes of the batches of one size, or of all of them; nothing to begin with."""

    def __init__(self) -> None:
        self.damage: Callable[[Outputs], Outputs] | None = None
        self.num_rows: int | None = None
        self.ended = threading.Event()

    def hang(self, computed: Outputs) -> Outputs:
        """For as long as the test takes."""
        self.ended.wait()
        return computed

    def begin(self, damage: Callable[[Outputs], Outputs], num_rows: int | None = None) -> None:
        self.damage, self.num_rows = damage, num_rows

    def end(self) -> None:
        self.damage = None
        self.ended.set()

    def apply(self, model_inputs: dict[str, np.ndarray], computed: Outputs) -> Outputs:
        concerned = self.num_rows in (None, len(next(iter(model_inputs.values()))))
        return self.damage(computed) if self.damage and concerned else computed


class FaultInFile(Fault):
    """A file says what is wrong with batches of dense features: `hang` or a name of `DAMAGES`, and a number
    of rows, or all; `hold`: they wait until it says something else."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def hang(self, computed: Outputs) -> Outputs:
        """For as long as the file is there."""
        while self.path.exists():
            time.sleep(0.01)
        return computed

    def say(self, text: str) -> None:
        """Let the fault be this from now on."""
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.replace(self.path)

    def apply(self, model_inputs: dict[str, np.ndarray], computed: Outputs) -> Outputs:
        if "features" not in model_inputs:
            return computed
        while self.path.exists() and self.path.read_text() == "hold":
            time.sleep(0.01)
        if self.path.exists():
            name, *num_rows = self.path.read_text().split()
            self.begin(DAMAGES.get(name, self.hang), *map(int, num_rows))
        else:
            self.end()
        return super().apply(model_inputs, computed)


def faulty(run: Callable[..., Outputs], fault: Fault) -> Callable[..., Outputs]:
    """`InferenceSession.run` with a fault."""

    def run_with_fault(session: object, names: Sequence[str], model_inputs: dict[str, Any]) -> Outputs:
        return fault.apply(model_inputs, run(session, names, model_inputs))

    return run_with_fault


if __name__ == "__main__":  # `rbm-serve`, with the fault in the file that is named
    from rbm_service.__main__ import main

    fault_in_file = FaultInFile(Path(sys.argv[1]))
    onnxruntime.InferenceSession.run = faulty(onnxruntime.InferenceSession.run, fault_in_file)
    raise SystemExit(main([]))
