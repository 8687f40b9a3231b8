"""How a session is run: plainly, or through device memory that keeps its addresses.

`PlainRunner` serves the CPU provider, where binding brings nothing. `BucketRunner` serves CUDA: for every
shape in use it holds tensors on the device, pads a batch up to the next such shape, and replays the CUDA
graph that was captured from those tensors. It runs on the CPU provider as well, which is how it is tested.

Dimension letters: B batch, S non-zeros of the longest row.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Final

import numpy as np
import onnxruntime as ort

from rbm_bundle.manifest import GraphEntry, Manifest, TensorSpec
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
    trimmed,
)
from rbm_service.runtime.tensors import Tensors, floor_power, num_rows_of, padded_width, stack

NO_CAPTURE: Final = -1
# A CUDA graph exists only for the thread that captured it, and while one is being captured no other thread
# of the process may touch the GPU: all work for it, of the model in service and of the one that is being
# loaded, goes through this thread. It starts with the first such work.
_device_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rbm-device")


def nobody_counts(num_rows: int) -> None:
    """Count no pass."""


class Runner(ABC):
    """Computes outputs of any number of rows. This is the one place where rows are split into passes.

    Attributes:
        on_execution: told the rows of each pass, just before it runs.
    """

    def __init__(self, session: ort.InferenceSession, manifest: Manifest, graph: GraphEntry) -> None:
        self.on_execution: Callable[[int], object] = nobody_counts
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
        return self._shapes(most_rows)

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
        parts = self._parts(model_inputs, num_rows, limit)
        return stack([self._run_pass(part, outputs, num_rows_of(part), is_counted) for part in parts])

    def _parts(self, model_inputs: Tensors, num_rows: int, limit: int) -> Iterator[Tensors]:
        """Passes that are each padded no wider than their own longest row."""
        for start in range(0, num_rows, limit):
            part = {name: rows[start : start + limit] for name, rows in model_inputs.items()}
            yield trimmed(part, self._manifest)

    def _run_pass(
        self, model_inputs: Tensors, outputs: Sequence[str], num_rows: int, is_counted: bool
    ) -> Tensors:
        if is_counted:
            self.on_execution(num_rows)
        computed = self._execute(model_inputs, outputs)
        for name, tensor in computed.items():
            if tensor.shape != (num_rows, *self._row_shapes[name]):
                promised = (num_rows, *self._row_shapes[name])
                raise EngineError(f"expected {name} of shape {promised}, got {tensor.shape}")
            if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
                raise EngineError(f"the model gave {name} that are not finite")
        return computed

    def _row_limit(self, width: int) -> int:
        """How many rows of S = `width` run at once."""
        return int(min(self._most_rows, max_rows(self._manifest, width)))

    @abstractmethod
    def _shapes(self, most_rows: int) -> Sequence[BatchShape]: ...

    @abstractmethod
    def _execute(self, model_inputs: Tensors, outputs: Sequence[str]) -> Tensors: ...


class PlainRunner(Runner):
    """Hands arrays to the session as they come."""

    def _shapes(self, most_rows: int) -> Sequence[BatchShape]:
        return list(plain_shapes(self._manifest, most_rows))

    def _execute(self, model_inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        return dict(zip(outputs, self._session.run(outputs, model_inputs), strict=True))


class BucketRunner(Runner):
    """Pads batches up to shapes whose tensors lie on the device.

    Args:
        device_type: where the tensors lie, `cuda` or `cpu`.
    """

    def __init__(
        self, session: ort.InferenceSession, manifest: Manifest, graph: GraphEntry, device_type: str
    ) -> None:
        super().__init__(session, manifest, graph)
        self._graph = graph
        self._device_type = device_type
        self._buckets: dict[BatchShape, Bucket] = {}
        # Never used twice: a captured graph keeps the addresses it was captured with.
        self._graph_ids = count(1)

    def _shapes(self, most_rows: int) -> Sequence[BatchShape]:
        """Claim memory for every bucket; the first run of each captures its graph."""
        shapes = list(bucket_shapes(self._manifest, most_rows))
        self._buckets = {
            shape: _device_thread.submit(self._bucket, shape, next(self._graph_ids)).result()
            for shape in shapes
        }
        return shapes

    def _row_limit(self, width: int) -> int:
        padded = padded_nonzeros(self._manifest, width)
        held = [shape.num_rows for shape in self._buckets if shape.num_nonzeros == padded]
        return max(held, default=floor_power(super()._row_limit(padded)))

    def _execute(self, model_inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        return _device_thread.submit(self._replay, model_inputs, outputs).result()

    def _replay(self, model_inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        width = padded_nonzeros(self._manifest, padded_width(model_inputs))
        shape = BatchShape(ceil_power(num_rows_of(model_inputs)), width)
        # A shape without a bucket is rare, a row longer than any known node's: not worth memory for good.
        bucket = self._buckets.get(shape) or self._bucket(shape, NO_CAPTURE)
        return bucket.run(model_inputs, outputs)

    def _bucket(self, shape: BatchShape, graph_id: int) -> "Bucket":
        return Bucket(self._session, self._manifest, self._graph, shape, self._device_type, graph_id)


class Bucket:
    """The tensors of one shape, bound once, and the id of the CUDA graph that reads and writes them."""

    def __init__(
        self,
        session: ort.InferenceSession,
        manifest: Manifest,
        graph: GraphEntry,
        shape: BatchShape,
        device_type: str,
        graph_id: int,
    ) -> None:
        self._session = session
        self._specs = graph.inputs
        self._padding = padding(manifest.features)
        self._staged = {spec.name: blank(manifest, spec, shape) for spec in graph.inputs}
        self._inputs = {spec.name: _device_tensor(spec, shape, device_type) for spec in graph.inputs}
        self._outputs = {spec.name: _device_tensor(spec, shape, device_type) for spec in graph.outputs}
        self._binding = session.io_binding()
        for name, tensor in self._inputs.items():
            self._binding.bind_ortvalue_input(name, tensor)
        for name, tensor in self._outputs.items():
            self._binding.bind_ortvalue_output(name, tensor)
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", str(graph_id))

    def run(self, model_inputs: Tensors, outputs: Sequence[str]) -> Tensors:
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
        return {name: self._outputs[name].numpy()[:num_rows].copy() for name in outputs}


def _device_tensor(spec: TensorSpec, shape: BatchShape, device_type: str) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_shape_and_type(shape.of(spec), np.dtype(spec.dtype), device_type, 0)
