"""The engine: one ONNX Runtime session on the device that was asked for, or none at all.

Dimension letters: B batch, C classes, L layers, K experts per row.
"""

import contextlib
import ctypes
import io
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnxruntime as ort

from rbm_bundle import Bundle, BundleError
from rbm_bundle.golden import check_parity, measure_parity
from rbm_bundle.manifest import Provider, TensorSpec
from rbm_service.errors import EngineError
from rbm_service.runtime.runners import BucketRunner, PlainRunner, Runner
from rbm_service.runtime.shapes import BatchShape, blank, plain_shapes
from rbm_service.runtime.tensors import ALWAYS, LatencyTable


@dataclass(frozen=True, slots=True)
class Target:
    """An execution provider and its options; `bound_to` is the device that holds tensors of fixed address."""

    provider: str
    options: Mapping[str, str]
    bound_to: str | None


TARGETS: Final[Mapping[Provider, Target]] = {
    "cpu": Target("CPUExecutionProvider", {}, None),
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
        bound_to="cuda",
    ),
}
MEASURED_RUNS: Final = 3  # of which the median counts
ONNX_TYPES: Final = {"float32": "tensor(float)", "int64": "tensor(int64)"}
FATAL_ONLY: Final = 4  # what goes wrong is raised with a reason; the runtime's own lines would come on top


class Engine:
    """A session over a bundle's graph for one device.

    Args:
        gpu_memory_limit_bytes: most memory the CUDA provider's arena may take; unset, no limit.

    Raises:
        BundleError: the graph cannot be read, or is not what the manifest says.
        EngineError: the device is not there.
    """

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
        self._session = _open_session(self._path, device, intra_op_threads, gpu_memory_limit_bytes)
        _check_tensors(self._path, "input", self._session.get_inputs(), self._entry.inputs)
        _check_tensors(self._path, "output", self._session.get_outputs(), self._entry.outputs)
        self._runner = self._runner_on(TARGETS[device].bound_to)
        self.run = self._runner.run  # see `Runner.run`

    @property
    def provider(self) -> str:
        """The execution provider that really runs the graph."""
        return str(self._session.get_providers()[0])

    @property
    def may_wait(self) -> bool:
        """Whether a run may wait for a device, perhaps for ever."""
        return self.provider != TARGETS["cpu"].provider

    @property
    def runtime_version(self) -> str:
        """Version of ONNX Runtime."""
        return str(ort.__version__)

    def report_executions(self, on_execution: Callable[[int], object]) -> None:
        """Tell of each pass from now on, just before it, how many rows it has."""
        self._runner.on_execution = on_execution

    def self_test(self, bundle: Bundle) -> None:
        """Reproduce the golden rows on the provider in use.

        Raises:
            BundleError: the outputs are not within the manifest's tolerances.
        """
        spec, golden = bundle.manifest.golden, bundle.golden()
        outputs = self.run(golden.inputs, ("logits", "probabilities", "experts"), is_counted=False)
        check_parity(measure_parity(golden, outputs, spec.routing_margin), spec, self._path)

    def warm_up(self, max_rows: int) -> None:
        """Run every power-of-two batch up to `max_rows`, largest first so that memory is claimed once.

        On CUDA this captures the graphs that are replayed from then on.

        Raises:
            EngineError: a run or a capture failed, for want of memory as a rule.
        """
        outputs = [spec.name for spec in self._entry.outputs]
        try:
            for shape in self._runner.prepare(max_rows):
                inputs = {spec.name: blank(self._manifest, spec, shape) for spec in self._entry.inputs}
                self.run(inputs, outputs)
        except Exception as error:  # the unit of work is this warm-up; see `_open_session`
            raise EngineError(f"the warm-up on {self.provider} failed: {_reason(error)}") from error

    def measure(self, max_rows: int) -> LatencyTable:
        """What every power-of-two batch up to `max_rows` takes, its rows as long as the longest known node's;
        to be asked when the engine is warm."""
        shapes = list(plain_shapes(self._manifest, max_rows))
        widest = [shape for shape in shapes if shape.num_nonzeros == shapes[0].num_nonzeros]
        return LatencyTable({shape.num_rows: self._median_seconds(shape) for shape in widest})

    def _median_seconds(self, shape: BatchShape) -> float:
        inputs = {spec.name: blank(self._manifest, spec, shape) for spec in self._entry.inputs}
        seconds = []
        for _ in range(MEASURED_RUNS):
            started = time.perf_counter()
            self.run(inputs, ALWAYS)
            seconds.append(time.perf_counter() - started)
        return statistics.median(seconds)

    def _runner_on(self, bound_to: str | None) -> Runner:
        if bound_to is None:
            return PlainRunner(self._session, self._manifest, self._entry)
        return BucketRunner(self._session, self._manifest, self._entry, bound_to)


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
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
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


def _check_tensors(path: Path, kind: str, found: Sequence[ort.NodeArg], wanted: Sequence[TensorSpec]) -> None:
    has = [_described(tensor.name, tensor.type, tensor.shape) for tensor in found]
    promised = [_described(spec.name, ONNX_TYPES[spec.dtype], spec.shape) for spec in wanted]
    if sorted(has) != sorted(promised):
        raise BundleError(path, f"{kind}s {', '.join(has)}", ", ".join(promised))


def _described(name: str, onnx_type: str, shape: Sequence[int | str | None]) -> str:
    """A tensor as text; a size that is not a number is free."""
    sizes = ", ".join(str(size) if isinstance(size, int) else "*" for size in shape)
    return f"{name} {onnx_type} [{sizes}]"
