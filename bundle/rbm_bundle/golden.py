"""Golden rows: inputs and the outputs the trained student gave, so that a session can prove itself.

Dimension letters: G golden rows, C classes, L layers, K experts per row.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rbm_bundle.arrays import ArraySpec, read_archive
from rbm_bundle.errors import BundleError
from rbm_bundle.manifest import Manifest
from rbm_bundle.manifest_parts import GoldenSpec

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class GoldenRows:
    """Inputs, by the names of the graph's, and reference outputs of the student, computed in float64.

    Shapes: inputs (G, ...), logits and probabilities (G, C), experts, weights and similarity (G, L, K),
    routing_gap (G,).
    """

    inputs: dict[str, npt.NDArray[Any]]
    logits: Floats
    probabilities: Floats
    experts: Integers
    weights: Floats
    similarity: Floats
    routing_gap: Floats

    def __len__(self) -> int:
        return int(self.logits.shape[0])

    def take(self, rows: Integers) -> "GoldenRows":
        """Some of the rows."""
        inputs = {name: array[rows] for name, array in self.inputs.items()}
        return GoldenRows(inputs, *(getattr(self, name)[rows] for name in OUTPUT_NAMES))

    @property
    def logit_scale(self) -> float:
        """Median norm of the logits: what an error is small against in a row whose own logits cancel."""
        return float(np.median(np.linalg.norm(self.logits.astype(np.float64), axis=1)))

    def to_bytes(self) -> bytes:
        """The rows as an uncompressed `.npz`."""
        buffer = io.BytesIO()
        outputs = {name: getattr(self, name) for name in OUTPUT_NAMES}
        arrays: dict[str, Any] = {**self.inputs, **outputs}
        np.savez(buffer, **arrays)
        return buffer.getvalue()


ROUTING_GAP: Final = "routing_gap"
OUTPUT_NAMES: Final = tuple(field.name for field in fields(GoldenRows) if field.name != "inputs")


def read_golden(path: Path, manifest: Manifest) -> GoldenRows:
    """Read `golden.npz`, no further than the manifest says.

    Raises:
        BundleError: an array is missing, unreadable, of another dtype or shape, or holds what a graph cannot
            take or give.
    """
    arrays = read_archive(path, _specs(manifest))
    for name, array in arrays.items():
        # A row that cannot be routed otherwise has an infinite gap.
        lost = np.isnan(array) if name == ROUTING_GAP else ~np.isfinite(array)
        if lost.any():
            raise BundleError(path, f"{name} that are not finite", "numbers")
    if manifest.features.form == "sparse":
        _check_padded(path, arrays["feature_ids"], arrays["feature_values"], manifest.features.num_features)
    inputs = {name: arrays[name] for name in manifest.inputs()}
    return GoldenRows(inputs, **{name: arrays[name] for name in OUTPUT_NAMES})


def _specs(manifest: Manifest) -> dict[str, ArraySpec]:
    """What each array must be; a sparse row is as long as it has columns at most."""
    G, F = manifest.golden.num_rows, manifest.features.num_features
    tensors = {**manifest.inputs(), **manifest.outputs()}.values()
    specs = {tensor.name: ArraySpec(tensor.dtype, (G, *tensor.shape[1:]), free=F) for tensor in tensors}
    return {**specs, ROUTING_GAP: ArraySpec("float32", (G,))}


def _check_padded(path: Path, ids: Integers, values: Floats, num_features: int) -> None:
    if ids.shape != values.shape:
        raise BundleError(path, f"feature_values {values.shape}", f"shape {ids.shape}, as feature_ids")
    if ids.size and not 0 <= ids.min() <= ids.max() <= num_features:
        raise BundleError(path, "feature_ids outside the features", f"0..{num_features}, the last as padding")


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a session's outputs are from the reference, over the rows that are not exempt."""

    num_rows: int
    num_exempt: int
    num_routed_otherwise: int
    worst_logits_error: float
    worst_probability_error: float


def measure_parity(
    golden: GoldenRows,
    outputs: Mapping[str, npt.NDArray[Any]],
    routing_margin: float,
    logit_scale: float | None = None,
) -> Parity:
    """Compare a session's `logits`, `probabilities` and `experts` with the golden rows.

    Routing sets are compared first; the logits error of a row is ‖Δlogits‖ / max(‖logits‖, logit_scale).
    Non-finite outputs count as infinitely wrong.

    Args:
        logit_scale: unset, that of the golden rows.
    """
    scale = golden.logit_scale if logit_scale is None else logit_scale
    exempt = golden.routing_gap < routing_margin  # (G,)
    kept = ~exempt
    same_experts = (np.sort(outputs["experts"], axis=-1) == np.sort(golden.experts, axis=-1)).all(axis=(1, 2))
    compared = kept & same_experts
    return Parity(
        num_rows=len(golden),
        num_exempt=int(exempt.sum()),
        num_routed_otherwise=int((kept & ~same_experts).sum()),
        worst_logits_error=_worst(relative_row_error(outputs["logits"], golden.logits, scale)[compared]),
        worst_probability_error=_worst(
            np.abs(outputs["probabilities"] - golden.probabilities).max(axis=1)[compared]
        ),
    )


def relative_row_error(
    got: npt.NDArray[Any], expected: npt.NDArray[Any], scale: float
) -> npt.NDArray[np.float64]:
    """‖got − expected‖ / max(‖expected‖, scale) of each row, shape (G,)."""
    difference = np.asarray(got, np.float64) - np.asarray(expected, np.float64)
    norm = np.linalg.norm(np.asarray(expected, np.float64), axis=1)
    return np.asarray(np.linalg.norm(difference, axis=1) / np.maximum(norm, max(scale, 1e-12)))


def check_parity(parity: Parity, spec: GoldenSpec, file: Path | str) -> None:
    """Refuse outputs that are not within the manifest's tolerances.

    Raises:
        BundleError: too many exempt rows, another routing, or an error above the tolerance.
    """
    exempt_share = parity.num_exempt / parity.num_rows
    if exempt_share > spec.max_exempt_share:
        raise BundleError(
            file, f"{exempt_share:.1%} rows too near a routing tie", f"at most {spec.max_exempt_share:.1%}"
        )
    if parity.num_routed_otherwise:
        raise BundleError(
            file,
            f"{parity.num_routed_otherwise} of {parity.num_rows} golden rows routed to other experts",
            "the recorded experts",
        )
    if not parity.worst_logits_error <= spec.rtol:
        raise BundleError(
            file, f"relative logits error {parity.worst_logits_error:.2e}", f"at most {spec.rtol:.0e}"
        )
    if not parity.worst_probability_error <= spec.atol:
        raise BundleError(
            file, f"probability error {parity.worst_probability_error:.2e}", f"at most {spec.atol:.0e}"
        )


def _worst(errors: npt.NDArray[Any]) -> float:
    if errors.size == 0:
        return 0.0
    return float(errors.max()) if np.isfinite(errors).all() else float("inf")
