"""How fast a GPU serves: the captured graphs over launching their kernels one by one, and over the CPU.

Run with the extras `service`, `gpu` and `training`: `python -m tests.load.gpu_bench gpu.json docs/gpu.md`.
"""

import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import onnxruntime as ort
import torch

from rbm_bundle import Bundle
from rbm_service.runtime.engine import TARGETS, Engine
from rbm_service.runtime.tensors import Tensors
from rbm_training.students.student import Student
from tests.cuda import why_no_cuda
from tests.load.bench import processor
from tests.load.contenders import service
from tests.load.gpu_performance import BATCHES, REQUESTS, render
from tests.load.graph_bench import dense_inputs
from tests.load.performance import Results
from tests.load.production import production_student, publish_production_model
from tests.load.timing import compare, microseconds, times_faster
from tests.load.wrk import Contender, HttpBenchError, Load, check_machine, ratio, take_turns

OUTPUTS: Final = ("probabilities", "experts")
MIB: Final = 2**20


def main(results_file: Path, page: Path) -> None:
    """Measure, write, render."""
    if reason := why_no_cuda():
        raise HttpBenchError(f"GPU benchmark: {reason}")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        models_dir = Path(folder) / "models"
        bundle = publish_production_model(models_dir)
        results = _describe() | _engines(bundle) | _requests(models_dir)
    results_file.write_text(json.dumps(results, indent=1) + "\n")
    page.write_text(render(results))
    print(f"written: {results_file}, {page}")


def _describe() -> Results:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "gpu": torch.cuda.get_device_name(),
        "cuda": str(torch.version.cuda),
        "onnxruntime": str(ort.__version__),
        "torch": str(torch.__version__),
        "processor": processor(),
    }


def _engines(bundle: Bundle) -> Results:
    """One batch: replayed from a captured graph, launched kernel by kernel, in torch, on a CPU thread."""
    free, started = _free_memory(), time.perf_counter()
    cuda = Engine(bundle, "cuda", 1)
    cuda.warm_up(max(BATCHES))
    results: Results = {
        "start_seconds": round(time.perf_counter() - started, 1),
        "memory_mib": round((free - _free_memory()) / MIB),
    }
    cpu, launched = Engine(bundle, "cpu", 1), _launched(bundle)
    cpu.warm_up(max(BATCHES))
    student = production_student().to("cuda")
    for num_rows in BATCHES:
        inputs = dense_inputs(num_rows)
        rivals = {
            "launched": partial(launched.run, OUTPUTS, inputs),
            "torch": partial(_in_torch, student, inputs),
            "cpu": partial(cpu.run, inputs, OUTPUTS),
        }
        for name, rival in rivals.items():
            ours, theirs = compare(partial(cuda.run, inputs, OUTPUTS), rival)
            results[f"captured_over_{name}_b{num_rows}"] = round(times_faster(ours, theirs), 3)
            results[f"{name}_b{num_rows}_us"] = microseconds(theirs)
            results[f"captured_b{num_rows}_us"] = microseconds(ours)
    return results


def _free_memory() -> int:
    return torch.cuda.mem_get_info()[0]


def _launched(bundle: Bundle) -> ort.InferenceSession:
    """The same graph on the same provider, without captured graphs."""
    target = TARGETS["cuda"]
    options = {**target.options, "enable_cuda_graph": "0"}
    return ort.InferenceSession(bundle.graph_path("cuda"), providers=[(target.provider, options)])


@torch.inference_mode()
def _in_torch(student: Student, inputs: Tensors) -> None:
    """From arrays to arrays, as the engine does it."""
    features, positions = (torch.from_numpy(inputs[name]).cuda() for name in ("features", "positions"))
    answer = student(features, positions)
    (answer.logits / student.temperature).softmax(dim=1).cpu().numpy()
    torch.stack([layer.experts for layer in answer.layers], dim=1).cpu().numpy()


def _requests(models_dir: Path) -> Results:
    """A service on the GPU and one on the CPU, a core each, loaded in turns."""
    serving_core, other_core, loading_core = check_machine()[:3]
    results: Results = {}
    with ExitStack() as stack:
        cuda = stack.enter_context(service(models_dir, serving_core, device="cuda"))
        cpu = stack.enter_context(service(models_dir, other_core))
        for name, (_, request, in_flight) in REQUESTS.items():
            rounds = take_turns([Contender(cuda, request), Contender(cpu, request)], in_flight, loading_core)
            results |= _compared(name, rounds)
    return results


def _compared(name: str, rounds: list[list[Load]]) -> Results:
    mine, theirs = ([turn[side] for turn in rounds] for side in (0, 1))
    return {
        f"rate_cuda_over_cpu_{name}": ratio(rounds, "requests_per_second"),
        f"cost_cuda_over_cpu_{name}": ratio(rounds, "processor_microseconds"),
        f"rate_cuda_{name}": round(_median(mine, "requests_per_second")),
        f"rate_cpu_{name}": round(_median(theirs, "requests_per_second")),
        f"median_cuda_{name}_us": _median(mine, "median_microseconds"),
        f"median_cpu_{name}_us": _median(theirs, "median_microseconds"),
    }


def _median(loads: list[Load], measure: str) -> float:
    return statistics.median(getattr(load, measure) for load in loads)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except HttpBenchError as error:
        raise SystemExit(str(error)) from None
