"""How a session is run: plainly, or through device memory that keeps its addresses.

`PlainRunner` serves the CPU provider, where binding brings nothing. `BucketRunner` serves CUDA: for every
shape in use it holds tensors on the device, pads a batch up to the next such shape, and replays the CUDA
graph that was captured from those tensors. It runs on the CPU provider as well, which is how it is tested.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Final, Protocol

import numpy as np
import onnxruntime as ort

from rbm_bundle.manifest import GraphEntry, Manifest, TensorSpec
from rbm_service.runtime.shapes import (
    BatchShape,
    blank,
    bucket_shapes,
    ceil_power,
    max_rows,
    padded_nonzeros,
    padded_width,
    padding,
    plain_shapes,
    shape_of,
    trimmed,
)
from rbm_service.runtime.tensors import Tensors, floor_power, stack

NO_CAPTURE: Final = -1
# A CUDA graph exists only for the thread that captured it, and while one is being captured no other thread
# of the process may touch the GPU: all work for it, of the model in service and of the one that is being
# loaded, goes through this thread. It starts with the first such work.
_device_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rbm-device")


class Runner(Protocol):
    """Computes outputs of any number of rows."""

    def prepare(self, most_rows: int) -> Sequence[BatchShape]:
        """Make ready for batches of up to `most_rows`; returns what should now run once, in order."""

    def run(self, model_inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        """The named outputs; `model_inputs` are exactly the graph's inputs."""


class PlainRunner:
    """Hands arrays to the session as they come, as many rows at once as may run."""

    def __init__(self, session: ort.InferenceSession, manifest: Manifest) -> None:
        self._session = session
        self._manifest = manifest

    def prepare(self, most_rows: int) -> Sequence[BatchShape]:
        """Nothing to hold; see `Runner`."""
        return list(plain_shapes(self._manifest, most_rows))

    def run(self, model_inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        """See `Runner`."""
        parts = _in_parts(model_inputs, max_rows(self._manifest, padded_width(model_inputs)), self._manifest)
        return stack([self._run_part(part, outputs) for part in parts])

    def _run_part(self, model_inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        return dict(zip(outputs, self._session.run(list(outputs), model_inputs), strict=True))


class BucketRunner:
    """Pads batches up to shapes whose tensors lie on the device; larger ones run in parts.

    Args:
        device_type: where the tensors lie, `cuda` or `cpu`.
    """

    def __init__(
        self, session: ort.InferenceSession, manifest: Manifest, graph: GraphEntry, device_type: str
    ) -> None:
        self._session = session
        self._manifest = manifest
        self._graph = graph
        self._device_type = device_type
        self._buckets: dict[BatchShape, Bucket] = {}
        # Never used twice: a captured graph keeps the addresses it was captured with.
        self._graph_ids = count(1)

    def prepare(self, most_rows: int) -> Sequence[BatchShape]:
        """Claim memory for every bucket; the first run of each captures its graph."""
        shapes = list(bucket_shapes(self._manifest, most_rows))
        self._buckets = {
            shape: _device_thread.submit(self._bucket, shape, next(self._graph_ids)).result()
            for shape in shapes
        }
        return shapes

    def run(self, model_inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        """See `Runner`."""
        width = padded_nonzeros(self._manifest, padded_width(model_inputs))
        parts = _in_parts(model_inputs, self._largest(width), self._manifest)
        return stack([_device_thread.submit(self._run_part, part, outputs).result() for part in parts])

    def _largest(self, width: int) -> int:
        held = [shape.num_rows for shape in self._buckets if shape.num_nonzeros == width]
        return max(held, default=floor_power(max_rows(self._manifest, width)))

    def _run_part(self, model_inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        came = shape_of(model_inputs)
        width = padded_nonzeros(self._manifest, came.num_nonzeros)
        shape = BatchShape(ceil_power(came.num_rows), width)
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
        shape = shape_of(model_inputs)
        for spec in self._specs:
            staged = self._staged[spec.name]
            staged.fill(self._padding.get(spec.name, 0))
            staged[tuple(map(slice, shape.of(spec)))] = model_inputs[spec.name]
            self._inputs[spec.name].update_inplace(staged)
        self._session.run_with_iobinding(self._binding, self._options)
        # A copy, since on the CPU provider `numpy()` is a view of memory that the next run overwrites.
        return {name: self._outputs[name].numpy()[: shape.num_rows].copy() for name in outputs}


def _device_tensor(spec: TensorSpec, shape: BatchShape, device_type: str) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_shape_and_type(shape.of(spec), np.dtype(spec.dtype), device_type, 0)


def _in_parts(model_inputs: Tensors, most_rows: int, manifest: Manifest) -> Sequence[Tensors]:
    """All rows at once, or parts that are each padded no wider than their own longest row."""
    num_rows = shape_of(model_inputs).num_rows
    if num_rows <= most_rows:
        return [model_inputs]
    spans = [slice(start, start + most_rows) for start in range(0, num_rows, most_rows)]
    return [trimmed({name: rows[span] for name, rows in model_inputs.items()}, manifest) for span in spans]
