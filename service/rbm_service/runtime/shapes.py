"""The shapes a graph runs in: how many rows at once, and how wide sparse rows are padded.

A sparse first layer gathers K rows of H weights for each of the B·S non-zeros of a batch, so long rows leave
room for few of them. Dimension letters: B batch, F features, S non-zeros of the longest row, K experts per
row and H output of the first layer, R width of a learnt router.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rbm_bundle.manifest import Manifest
from rbm_bundle.manifest_parts import FeatureSpec, TensorSpec
from rbm_service.runtime.tensors import Tensors

MAX_FLOATS: Final = 64 * 2**20  # what one forward pass may gather: 256 MiB
SHORTEST_BUCKET: Final = 16  # non-zeros; padding rows shorter still costs less than one more bucket


@dataclass(frozen=True, slots=True)
class BatchShape:
    """B rows of S padded non-zeros; S is 0 where features are dense."""

    num_rows: int
    num_nonzeros: int

    def of(self, spec: TensorSpec) -> tuple[int, ...]:
        """The sizes of a tensor, its free ones filled in: B comes first, S second."""
        free = iter((self.num_rows, self.num_nonzeros))
        return tuple(next(free) if size is None else size for size in spec.shape)


def padding(features: FeatureSpec) -> Mapping[str, int]:
    """What fills the places that hold no data, by input: F where a column is named. Dense ones have none."""
    return {"feature_ids": features.num_features, "feature_values": 0} if features.form == "sparse" else {}


def blank(manifest: Manifest, spec: TensorSpec, shape: BatchShape) -> npt.NDArray[Any]:
    """An input of nothing but padding, or zeros."""
    return np.full(shape.of(spec), padding(manifest.features).get(spec.name, 0), spec.dtype)


def trimmed(model_inputs: Tensors, manifest: Manifest) -> Tensors:
    """The same rows, padded to the longest of them and no further; at least one entry wide."""
    if manifest.features.form == "dense":
        return model_inputs
    stored = model_inputs["feature_ids"] != manifest.features.num_features  # (B, S), True first in every row
    width = max(int(stored.sum(axis=1).max()), 1)
    padded = padding(manifest.features)
    return {name: rows[:, :width] if name in padded else rows for name, rows in model_inputs.items()}


def max_rows(manifest: Manifest, num_nonzeros: int) -> int:
    """How many rows may run at once, at least one: B·S·max(K·H, R) floats, or B·F, stay within
    `MAX_FLOATS`."""
    is_dense = manifest.features.form == "dense"
    floats = manifest.features.num_features if is_dense else _gathered_floats(manifest) * max(num_nonzeros, 1)
    return max(1, MAX_FLOATS // floats)


def max_nonzeros(manifest: Manifest) -> int:
    """The longest sparse row that may run: one that alone would gather more than `MAX_FLOATS` may not."""
    return min(manifest.features.num_features, MAX_FLOATS // _gathered_floats(manifest))


def plain_shapes(manifest: Manifest, most_rows: int) -> list[BatchShape]:
    """What to run before any request: powers of two rows, of the longest known node's width and of one
    non-zero, largest first so that memory is claimed once."""
    known = manifest.features.max_nonzeros
    return _every_batch(manifest, most_rows, {0} if known is None else {max(known, 1), 1})


def bucket_shapes(manifest: Manifest, most_rows: int) -> list[BatchShape]:
    """The shapes that batches are padded to: powers of two rows by powers of two non-zeros, largest first."""
    widest = padded_nonzeros(manifest, manifest.features.max_nonzeros or 0)
    shorter = {width for width in powers_up_to(widest) if width >= SHORTEST_BUCKET}
    return _every_batch(manifest, most_rows, {widest, *shorter})


def padded_nonzeros(manifest: Manifest, num_nonzeros: int) -> int:
    """The width of the bucket for sparse rows of `num_nonzeros`; dense rows have none."""
    if manifest.features.form == "dense":
        return 0
    return min(max(ceil_power(num_nonzeros), SHORTEST_BUCKET), max_nonzeros(manifest))


def powers_up_to(most: int) -> list[int]:
    """The powers of two that are no more, largest first."""
    return [2**power for power in reversed(range(most.bit_length()))]


def ceil_power(number: int) -> int:
    """The smallest power of two that is no less."""
    return 1 << max(number - 1, 0).bit_length()


def _every_batch(manifest: Manifest, most_rows: int, widths: set[int]) -> list[BatchShape]:
    return [
        BatchShape(num_rows, width)
        for width in sorted(widths, reverse=True)
        for num_rows in powers_up_to(min(most_rows, max_rows(manifest, width)))
    ]


def _gathered_floats(manifest: Manifest) -> int:
    """What the first layer gathers for one non-zero of one row: R for its router, if it has a learnt one, and
    when that is done K·H for its experts."""
    student = manifest.architecture
    E = student.num_experts[0]
    router = student.router_width or 0 if E > 1 else 0
    return max(min(student.experts_per_row, E) * student.layer_widths[1], router)
