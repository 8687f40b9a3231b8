"""The engine: one ONNX Runtime session on the device that was asked for, or none at all.

Dimension letters: B batch, C classes, L layers, K experts per row.
"""

import contextlib
import ctypes
import io
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort

from rbm_bundle import Bundle, BundleError
from rbm_bundle.golden import check_parity, measure_parity
from rbm_bundle.manifest_parts import Provider, TensorSpec
from rbm_service.errors import EngineError
from rbm_service.runtime.record_graph import RecordGraph
from rbm_service.runtime.runners import BucketRunner, Runner
from rbm_service.runtime.shapes import BatchShape, blank, plain_shapes
from rbm_service.runtime.tensors import ALWAYS, Tensors


@dataclass(frozen=True, slots=True)
class Target:
    """An execution provider, its options, and how sessions are run there."""

    provider: str
    options: Mapping[str, str]
    runner: type[Runner]


TARGETS: Final[Mapping[Provider, Target]] = {
    "cpu": Target("CPUExecutionProvider", {}, Runner),
    "cuda": Target(
        "CUDAExecutionProvider",
        {
            # TF32 keeps ten bits of a factor, too few to keep two close experts apart.
            "use_tf32": "0",
            # The kernels of one batch are so short that launching them one by one takes longer.
            "enable_cuda_graph": "1",
            # The shapes are known and warmed largest first: doubling would claim memory nothing needs.
            "arena_extend_strategy": "kSameAsRequested",
        },
        BucketRunner,
    ),
}
MEASURED_RUNS: Final = 3  # of which the median counts
ONNX_TYPES: Final = {"float32": "tensor(float)", "int64": "tensor(int64)"}
FATAL_ONLY: Final = 4  # what goes wrong is raised with a reason; the runtime's own lines would come on top


class Engine:
    """A session over a bundle's graph for one device, and over its graph of records, where it has one.

    Args:
        gpu_memory_limit_bytes: most memory the CUDA provider's arena may take; unset, no limit.

    Attributes:
        provider: the execution provider that really runs the graph.
        may_wait: whether a run may wait for a device, perhaps for ever.
        runner: what splits the rows of a run into passes, and tells of each.
        records: what makes features of records; None where the bundle takes none.

    Raises:
        BundleError: the graph cannot be read, or is not what the manifest says.
        EngineError: the device is not there.
    """

    runtime_version: Final = str(ort.__version__)

    def __init__(
        self,
        bundle: Bundle,
        device: Provider,
        intra_op_threads: int,
        gpu_memory_limit_bytes: int | None = None,
    ) -> None:
        self._path = bundle.graph_path(device)
        self._manifest = bundle.manifest
        self._entry = bundle.manifest.graphs[device]
        session = _open_session(self._path, device, intra_op_threads, gpu_memory_limit_bytes)
        _check_tensors(self._path, "input", session.get_inputs(), self._entry.inputs)
        _check_tensors(self._path, "output", session.get_outputs(), self._entry.outputs)
        self.runner = TARGETS[device].runner(session, self._manifest, self._entry)
        self.run = self.runner.run  # see `Runner.run`
        self.provider = str(session.get_providers()[0])
        spec = bundle.manifest.records
        self.records = None if spec is None else RecordGraph(bundle, spec)
        self.may_wait = self.provider != TARGETS["cpu"].provider

    def self_test(self, bundle: Bundle) -> None:
        """Reproduce the golden rows on the provider in use, and the golden records.

        Raises:
            BundleError: the outputs are not within the manifest's tolerances.
        """
        spec, golden = bundle.manifest.golden, bundle.golden()
        outputs = self.run(golden.inputs, ("logits", "probabilities", "experts"), is_counted=False)
        check_parity(measure_parity(golden, outputs, spec.routing_margin), spec, self._path)
        if self.records is not None:
            self.records.self_test(bundle)

    def warm_up(self, max_rows: int) -> None:
        """Run every power-of-two batch up to `max_rows`, largest first so that memory is claimed once.

        On CUDA this captures the graphs that are replayed from then on.

        Raises:
            EngineError: a run or a capture failed, for want of memory as a rule.
        """
        outputs = [spec.name for spec in self._entry.outputs]
        try:
            for shape in self.runner.prepare(max_rows):
                self.run(self._blank_inputs(shape), outputs)
        except Exception as error:  # the unit of work is this warm-up; see `_open_session`
            raise EngineError(f"the warm-up on {self.provider} failed: {_reason(error)}") from error

    def measure(self, max_rows: int) -> dict[int, float]:
        """The seconds that every power-of-two batch up to `max_rows` takes, its rows as long as the longest
        known node's; to be asked when the engine is warm."""
        shapes = plain_shapes(self._manifest, max_rows)
        longest = shapes[0].num_nonzeros
        return {each.num_rows: self._seconds(each) for each in shapes if each.num_nonzeros == longest}

    def _seconds(self, shape: BatchShape) -> float:
        """The median of several runs."""
        inputs, moments = self._blank_inputs(shape), [time.perf_counter()]
        for _ in range(MEASURED_RUNS):
            self.run(inputs, ALWAYS)
            moments.append(time.perf_counter())
        return float(np.median(np.diff(moments)))

    def _blank_inputs(self, shape: BatchShape) -> Tensors:
        return {spec.name: blank(self._manifest, spec, shape) for spec in self._entry.inputs}


def _open_session(
    path: Path, device: Provider, intra_op_threads: int, gpu_memory_limit_bytes: int | None
) -> ort.InferenceSession:
    name, provider_options = TARGETS[device].provider, dict(TARGETS[device].options)
    if gpu_memory_limit_bytes is not None and device == "cuda":
        provider_options["gpu_mem_limit"] = str(gpu_memory_limit_bytes)
    if name not in ort.get_available_providers():
        raise EngineError(
            "RBM_DEVICE=cuda, but the installed onnxruntime is built without CUDA: install the extra `gpu` "
            "instead of `cpu`, or set RBM_DEVICE=cpu"
        )
    options = _session_options(intra_op_threads)
    ort.set_default_logger_severity(FATAL_ONLY)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # what the runtime prints is raised below instead
            if device == "cuda":
                ort.preload_dlls()
            session = ort.InferenceSession(
                path,
                options,
                providers=[(name, provider_options)],
                enable_fallback=0,  # or what fails here or in a run would be repeated on the CPU, in silence
            )
    except Exception as error:  # the unit of work is this session; ONNX Runtime has no base class for errors
        if device == "cuda":
            raise EngineError(f"RBM_DEVICE=cuda, but {path} cannot run there: {_reason(error)}") from error
        raise BundleError(path, f"a graph that ONNX Runtime refuses ({error})", "a graph") from error
    if session.get_providers()[0] != name:
        raise EngineError(_why_no_cuda())
    return session


def _session_options(intra_op_threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.log_severity_level = FATAL_ONLY
    if intra_op_threads > 1:
        # Threads that spin while they wait take the processor from everyone else on a shared machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _reason(error: Exception) -> str:
    """What CUDA says, without the signatures, source lines and host that ONNX Runtime puts around it."""
    said = re.search(r"CUDA failure \d+: [^;]+", str(error))
    return said[0].strip() if said else str(error)


def _why_no_cuda() -> str:
    library = Path(ort.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return (
            f"RBM_DEVICE=cuda, but a library is missing ({error}): the extra `gpu` brings those of CUDA and "
            "cuDNN, the driver the rest; or set RBM_DEVICE=cpu"
        )
    return "RBM_DEVICE=cuda, but no GPU can be used here: look at its driver, or set RBM_DEVICE=cpu"


def _check_tensors(path: Path, kind: str, got: Sequence[ort.NodeArg], expected: Sequence[TensorSpec]) -> None:
    has = [_described(tensor.name, tensor.type, tensor.shape) for tensor in got]
    promised = [_described(spec.name, ONNX_TYPES[spec.dtype], spec.shape) for spec in expected]
    if sorted(has) != sorted(promised):
        raise BundleError(path, f"{kind}s {', '.join(has)}", ", ".join(promised))


def _described(name: str, onnx_type: str, shape: Sequence[int | str | None]) -> str:
    """A tensor as text; a size that is not a number is free."""
    sizes = ", ".join(str(size) if isinstance(size, int) else "*" for size in shape)
    return f"{name} {onnx_type} [{sizes}]"
