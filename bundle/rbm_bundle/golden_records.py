"""Golden records: some records and the features that scikit-learn made of them, so that a graph can prove
itself.

Dimension letters: G golden records, F features.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from rbm_bundle.errors import BundleError
from rbm_bundle.features import Floats
from rbm_bundle.folders import read_small_file
from rbm_bundle.record_spec import RecordsSpec
from rbm_bundle.records import Inputs, RecordError, columns_of, encode_columns

MAX_FILE_BYTES = 64 * 2**20
FieldValue = bool | int | float | str | list[str | int] | None


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GoldenRecord(_Part):
    """A record and its features that are not zero."""

    record: dict[str, FieldValue]
    indices: tuple[int, ...]
    values: tuple[float, ...]


class GoldenRecords(_Part):
    """Records and their features."""

    rows: tuple[GoldenRecord, ...]

    def to_bytes(self) -> bytes:
        """The rows as JSON."""
        return self.model_dump_json(indent=1).encode()

    def inputs(self, spec: RecordsSpec) -> Inputs:
        """What the graph of records takes.

        Raises:
            RecordError: a record that does not fit.
        """
        names = [column.name for column in spec.columns]
        return encode_columns(columns_of([row.record for row in self.rows], names), spec.columns)

    def features(self, num_features: int) -> Floats:
        """The features (G, F)."""
        features = np.zeros((len(self.rows), num_features), np.float32)
        for row, golden in enumerate(self.rows):
            features[row, list(golden.indices)] = golden.values
        return features


def golden_records(records: Sequence[dict[str, FieldValue]], features: npt.NDArray[Any]) -> GoldenRecords:
    """Golden records of features (G, F)."""
    rows = []
    for record, row in zip(records, features, strict=True):
        indices = np.flatnonzero(row)
        values = tuple(row[indices].tolist())
        rows.append(GoldenRecord(record=record, indices=tuple(indices.tolist()), values=values))
    return GoldenRecords(rows=tuple(rows))


def read_golden_records(path: Path, spec: RecordsSpec) -> GoldenRecords:
    """Read the golden records of a bundle.

    Raises:
        BundleError: they are not as many as the manifest says, do not fit its columns, or are no JSON.
    """
    try:
        golden = GoldenRecords.model_validate_json(read_small_file(path, MAX_FILE_BYTES), strict=True)
        golden.inputs(spec)
    except (ValidationError, RecordError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BundleError(path, f"no readable records ({reason})", "golden records") from error
    if len(golden.rows) != spec.num_golden:
        raise BundleError(path, f"{len(golden.rows)} records", f"{spec.num_golden}")
    for row in golden.rows:
        outside = any(not 0 <= index < spec.num_features for index in row.indices)
        if outside or len(row.indices) != len(row.values):
            raise BundleError(path, "features that do not fit each other", f"{spec.num_features} columns")
    return golden


def check_features(got: npt.NDArray[Any], golden: GoldenRecords, spec: RecordsSpec, file: Path | str) -> None:
    """Refuse features (G, F) that are not within the manifest's tolerance of the golden ones: of a number
    beyond 1, within this share of it.

    Raises:
        BundleError: they are not.
    """
    expected = golden.features(spec.num_features)
    if got.shape != expected.shape:
        raise BundleError(file, f"features of shape {got.shape}", f"shape {expected.shape}")
    error = np.abs(got - expected) / np.maximum(np.abs(expected), 1)
    worst = float(error.max(initial=0)) if np.isfinite(error).all() else float("inf")
    if not worst <= spec.atol:
        raise BundleError(file, f"an error of {worst:.2e} in the golden records", f"at most {spec.atol:.0e}")
