"""How a session is run: plainly, or through device memory that keeps its addresses.

`Runner` serves the CPU provider, where binding brings nothing. `BucketRunner` serves CUDA: for every shape in
use it holds tensors on the device, pads a batch up to the next such shape, and replays the CUDA graph that
was captured from those tensors. It runs on the CPU provider as well, which is how it is tested.

Dimension letters: B batch, S non-zeros of the longest row.
"""

import math
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from rbm_bundle.manifest import Manifest
from rbm_bundle.manifest_parts import GraphEntry, TensorSpec
from rbm_service.errors import EngineError
from rbm_service.runtime.shapes import (
    BatchShape,
    blank,
    bucket_shapes,
    ceil_power,
    max_rows,
    padded_nonzeros,
    padding,
    plain_shapes,
    powers_up_to,
    trimmed,
)
from rbm_service.runtime.tensors import FEW_NUMBERS, Tensors, cut, num_rows_of, padded_width, stack

Arrays = Sequence[npt.NDArray[Any]]

NO_CAPTURE: Final = -1
# A CUDA graph exists only for the thread that captured it, and while one is being captured no other thread
# of the process may run or free anything on the GPU: all that, for the model in service, the one that is
# being loaded and the one that has gone, is done by this thread. It starts with the first such work.
_device_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rbm-device")


class Runner:
    """Computes outputs of any number of rows. This is the one place where rows are split into passes; each
    hands its arrays to the session as they are.

    Attributes:
        on_execution: told the rows of each pass, just before it runs.
    """

    def __init__(self, session: ort.InferenceSession, manifest: Manifest, graph: GraphEntry) -> None:
        self.on_execution: Callable[[int], object] = lambda num_rows: None
        self._session = session
        self._manifest = manifest
        self._input_names = {spec.name for spec in graph.inputs}
        self._row_shapes = {spec.name: tuple(spec.shape[1:]) for spec in graph.outputs}
        self._most_rows: float = math.inf
        self._row_limits: dict[int, int] = {}  # by width, at most as many as a row may have features

    def prepare(self, most_rows: int) -> Sequence[BatchShape]:
        """Make ready for passes of up to `most_rows`; returns what should now run once, in order."""
        self._most_rows = most_rows
        self._row_limits.clear()
        return plain_shapes(self._manifest, most_rows)

    def run(self, model_inputs: Tensors, outputs: Sequence[str], *, is_counted: bool = True) -> Tensors:
        """The named outputs of all rows; inputs that the graph does not take are left out.

        Args:
            is_counted: whether `on_execution` is told.

        Raises:
            EngineError: an output is not of the promised shape, or holds what is not a finite number.
        """
        if type(model_inputs) is not dict or model_inputs.keys() != self._input_names:
            model_inputs = {name: model_inputs[name] for name in self._input_names}
        ids = model_inputs.get("feature_ids")
        width = 0 if ids is None else ids.shape[1]
        limit = self._row_limits.get(width) or self._row_limits.setdefault(width, self._row_limit(width))
        num_rows = len(next(iter(model_inputs.values())))
        if num_rows <= limit:
            return self._run_pass(model_inputs, outputs, num_rows, is_counted)
        spans = [slice(start, start + limit) for start in range(0, num_rows, limit)]
        # Each pass is padded no wider than its own longest row.
        parts = [trimmed(cut(model_inputs, span), self._manifest) for span in spans]
        return stack([self._run_pass(part, outputs, num_rows_of(part), is_counted) for part in parts])

    def _run_pass(self, inputs: Tensors, outputs: Sequence[str], num_rows: int, is_counted: bool) -> Tensors:
        if is_counted:
            self.on_execution(num_rows)
        computed = dict(zip(outputs, self._execute(outputs, inputs), strict=True))
        for name, tensor in computed.items():
            expected = (num_rows, *self._row_shapes[name])
            if tensor.shape != expected:
                raise EngineError(f"expected {name} of shape {expected}, got {tensor.shape}")
            if tensor.dtype.kind == "f" and not _are_finite(tensor):
                raise EngineError(f"the model gave {name} that are not finite")
        return computed

    def _execute(self, outputs: Sequence[str], model_inputs: Tensors) -> Arrays:
        computed: Arrays = self._session.run(outputs, model_inputs)
        return computed

    def _row_limit(self, width: int) -> int:
        """How many rows of S = `width` run at once."""
        return int(min(self._most_rows, max_rows(self._manifest, width)))


def _are_finite(tensor: npt.NDArray[Any]) -> bool:
    if tensor.size <= FEW_NUMBERS:
        return all(map(math.isfinite, tensor.ravel().tolist()))
    return bool(np.isfinite(tensor).all())


class BucketRunner(Runner):
    """Pads batches up to shapes whose tensors lie on the device.

    It has to be the only holder of the session: whichever thread drops the runner, what lies on the device is
    freed by the thread that works there.
    """

    def __init__(self, session: ort.InferenceSession, manifest: Manifest, graph: GraphEntry) -> None:
        super().__init__(session, manifest, graph)
        weakref.finalize(self, _device_thread.submit, vars(self).clear).atexit = False
        self._bucket = partial(Bucket, session, manifest, graph)
        self._buckets: dict[BatchShape, Bucket] = {}
        # Never used twice: a captured graph keeps the addresses it was captured with.
        self._graph_ids = count(1)

    def prepare(self, most_rows: int) -> Sequence[BatchShape]:
        """Claim memory for every bucket; the first run of each captures its graph."""
        super().prepare(most_rows)
        self._buckets = {
            shape: _device_thread.submit(self._bucket, shape, next(self._graph_ids)).result()
            for shape in bucket_shapes(self._manifest, most_rows)
        }
        return list(self._buckets)

    def _row_limit(self, width: int) -> int:
        padded = padded_nonzeros(self._manifest, width)
        held = [shape.num_rows for shape in self._buckets if shape.num_nonzeros == padded]
        return max(held, default=powers_up_to(super()._row_limit(padded))[0])

    def _execute(self, outputs: Sequence[str], model_inputs: Tensors) -> Arrays:
        return _device_thread.submit(self._replay, outputs, model_inputs).result()

    def _replay(self, outputs: Sequence[str], model_inputs: Tensors) -> Arrays:
        width = padded_nonzeros(self._manifest, padded_width(model_inputs))
        shape = BatchShape(ceil_power(num_rows_of(model_inputs)), width)
        # A shape without a bucket is rare, a row longer than any known node's: not worth memory for good.
        bucket = self._buckets.get(shape) or self._bucket(shape, NO_CAPTURE)
        return bucket.run(outputs, model_inputs)


class Bucket:
    """The tensors of one shape, bound once, and the id of the CUDA graph that reads and writes them."""

    def __init__(
        self,
        session: ort.InferenceSession,
        manifest: Manifest,
        graph: GraphEntry,
        shape: BatchShape,
        graph_id: int,
    ) -> None:
        device = "cuda" if "CUDAExecutionProvider" in session.get_providers() else "cpu"

        def on_device(spec: TensorSpec) -> ort.OrtValue:
            sizes, dtype = shape.of(spec), np.dtype(spec.dtype)
            return ort.OrtValue.ortvalue_from_shape_and_type(sizes, dtype, device, 0)

        self._session = session
        self._specs = graph.inputs
        self._padding = padding(manifest.features)
        self._staged = {spec.name: blank(manifest, spec, shape) for spec in graph.inputs}
        self._inputs = {spec.name: on_device(spec) for spec in graph.inputs}
        self._outputs = {spec.name: on_device(spec) for spec in graph.outputs}
        self._binding = session.io_binding()
        for name, tensor in self._inputs.items():
            self._binding.bind_ortvalue_input(name, tensor)
        for name, tensor in self._outputs.items():
            self._binding.bind_ortvalue_output(name, tensor)
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", str(graph_id))

    def run(self, outputs: Sequence[str], model_inputs: Tensors) -> Arrays:
        """The named outputs of rows that fit."""
        num_rows = num_rows_of(model_inputs)
        shape = BatchShape(num_rows, padded_width(model_inputs))
        for spec in self._specs:
            staged = self._staged[spec.name]
            staged.fill(self._padding.get(spec.name, 0))
            staged[tuple(map(slice, shape.of(spec)))] = model_inputs[spec.name]
            self._inputs[spec.name].update_inplace(staged)
        self._session.run_with_iobinding(self._binding, self._options)
        # A copy, since on the CPU provider `numpy()` is a view of memory that the next run overwrites.
        return [self._outputs[name].numpy()[:num_rows].copy() for name in outputs]
