"""The map: some known nodes in the plane in which the inputs of one layer spread the most.

Dimension letters: R mapped nodes, E experts of the layer.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rbm_bundle.arrays import ArraySpec, read_archive
from rbm_bundle.errors import BundleError
from rbm_bundle.manifest import Manifest
from rbm_bundle.manifest_parts import MapSpec

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class NodeMap:
    """Where nodes lie, what the model says of them, and where the layer's experts lie.

    Shapes: rows of the node table (R,), rising; points (R, 2); classes (R,), the most probable ones; experts
    (R,), the first of each node; memory (E, 2), what the layer compares its inputs with. The last two are
    None where the layer compares nothing.
    """

    rows: Indices
    points: Floats
    classes: Indices
    experts: Indices | None = None
    memory: Floats | None = None

    def to_bytes(self) -> bytes:
        """The map as an uncompressed `.npz`."""
        arrays: dict[str, Any] = {"rows": self.rows, "points": self.points, "classes": self.classes}
        if self.experts is not None and self.memory is not None:
            arrays |= {"experts": self.experts, "memory": self.memory}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()


def read_node_map(path: Path, manifest: Manifest, spec: MapSpec) -> NodeMap:
    """Read the map of a bundle, no further than its manifest says.

    Raises:
        BundleError: an array is missing, unreadable, of another dtype or shape, or names what is not there.
    """
    E, R = manifest.architecture.num_experts[spec.layer], spec.num_nodes
    specs = {
        "rows": ArraySpec("int32", (R,)),
        "points": ArraySpec("float32", (R, 2)),
        "classes": ArraySpec("int32", (R,)),
    }
    if spec.has_experts:
        specs |= {"experts": ArraySpec("int32", (R,)), "memory": ArraySpec("float32", (E, 2))}
    arrays = read_archive(path, specs)
    for name, size in (("rows", manifest.nodes.num_nodes), ("classes", len(manifest.labels)), ("experts", E)):
        _check_indices(path, name, arrays.get(name), size)
    if (np.diff(arrays["rows"]) <= 0).any():
        raise BundleError(path, "rows out of order or repeated", "strictly rising rows")
    for name in ("points", "memory"):
        if name in arrays and not np.isfinite(arrays[name]).all():
            raise BundleError(path, f"{name} that are not finite", "numbers")
    return NodeMap(**arrays)


def _check_indices(path: Path, name: str, indices: npt.NDArray[Any] | None, size: int) -> None:
    if indices is not None and not 0 <= indices.min() <= indices.max() < size:
        raise BundleError(path, f"{name} from {indices.min()} to {indices.max()}", f"0..{size - 1}")
