"""`manifest.json`: the index of a bundle, the only file read before anything is trusted.

The manifest proves itself. `bundle_id` is the SHA-256 of the file's own bytes with the id written as 64
zeros; those bytes hold the digest of every other file, so one id fixes the whole bundle to the last bit.
"""

import hashlib
import json
import reprlib
from collections.abc import Sequence
from typing import Any, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from rbm_bundle.errors import BundleError
from rbm_bundle.manifest_parts import (
    Architecture,
    FeatureSpec,
    FileEntry,
    GoldenSpec,
    GraphEntry,
    ManifestPart,
    MapSpec,
    Metrics,
    NodesSpec,
    Provenance,
    Provider,
    TensorSpec,
)
from rbm_bundle.record_spec import RecordsSpec

FORMAT_VERSIONS: Final = (1, 2)
"""Those that are read; 2 has optional parts, and what has none of them is still written as 1."""
OPTIONAL_PARTS: Final = ("records", "map")
MANIFEST_FILE = "manifest.json"
UNSEALED = "0" * 64
INTEGER_TENSORS: Final = frozenset({"feature_ids", "experts"})
NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class Manifest(ManifestPart):
    """Everything about a bundle but the arrays. Equations and names follow docs/method.md."""

    format_version: Literal[1, 2] = 1
    name: str = Field(pattern=NAME_PATTERN)
    bundle_id: str = Field(default=UNSEALED, pattern=r"^[0-9a-f]{64}$")
    created_at: str
    labels: tuple[str, ...] = Field(min_length=1)
    graphs: dict[Provider, GraphEntry]
    features: FeatureSpec
    records: RecordsSpec | None = Field(default=None, exclude_if=lambda records: records is None)
    nodes: NodesSpec
    map: MapSpec | None = Field(default=None, exclude_if=lambda spec: spec is None)
    golden: GoldenSpec
    architecture: Architecture
    metrics: Metrics
    provenance: Provenance
    files: dict[str, FileEntry] = Field(default_factory=dict)

    def inputs(self) -> dict[str, TensorSpec]:
        """What every graph takes, by name."""
        positions = {"positions": (None, self.nodes.position_width)} if self.nodes.position_width else {}
        return _tensors({**self.features.inputs(), **positions})

    def outputs(self) -> dict[str, TensorSpec]:
        """What every graph gives at least, by name."""
        C, L, K = len(self.labels), len(self.architecture.num_experts), self.architecture.experts_per_row
        shapes = dict.fromkeys(("logits", "probabilities"), (None, C))
        return _tensors({**shapes, **dict.fromkeys(("experts", "weights", "similarity"), (None, L, K))})

    @model_validator(mode="after")
    def _format_fits(self) -> Self:
        parts = {name: getattr(self, name) for name in OPTIONAL_PARTS}
        if self.format_version != format_of(*parts.values()):
            has = [name for name, part in parts.items() if part is not None]
            told = " and ".join(has) or f"no {' or '.join(OPTIONAL_PARTS)}"
            raise ValueError(f"{told} in format {self.format_version}; format 2 has them, format 1 has none")
        return self

    @model_validator(mode="after")
    def _records_fit(self) -> Self:
        F = self.features.num_features
        if self.records is not None and self.records.num_features != F:
            raise ValueError(f"records of {self.records.num_features} features, elsewhere {F}")
        return self

    @model_validator(mode="after")
    def _map_fits(self) -> Self:
        N, L = self.nodes.num_nodes, len(self.architecture.num_experts)
        if self.map is not None and self.map.num_nodes > N:
            raise ValueError(f"map of {self.map.num_nodes} nodes, elsewhere {N}")
        if self.map is not None and self.map.layer >= L:
            raise ValueError(f"map of layer {self.map.layer}, elsewhere layers 0 to {L - 1}")
        return self

    @model_validator(mode="after")
    def _graphs_agree(self) -> Self:
        """A graph takes and gives what the other fields imply: a service that trusts one needs both."""
        for provider, graph in self.graphs.items():
            _check_tensors(f"{provider} graph", graph.inputs, self.inputs())
            _check_tensors(f"{provider} graph", graph.outputs, self.outputs())
            if unknown := {tensor.name for tensor in graph.inputs} - set(self.inputs()):
                raise ValueError(f"{provider} graph: inputs {', '.join(sorted(unknown))}, elsewhere none")
        return self


def format_of(*optional_parts: object) -> Literal[1, 2]:
    """The format of a bundle with these optional parts, of which those that it lacks are None."""
    return 2 if any(part is not None for part in optional_parts) else 1


def _tensors(shapes: dict[str, tuple[int | None, ...]]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(name=name, dtype="int64" if name in INTEGER_TENSORS else "float32", shape=shape)
        for name, shape in shapes.items()
    }


def _check_tensors(graph: str, got: Sequence[TensorSpec], expected: dict[str, TensorSpec]) -> None:
    """Each that is expected has to be there once; others may be, too."""
    for name, tensor in expected.items():
        same = [other for other in got if other.name == name]
        if same != [tensor]:
            told = ", ".join(map(str, same)) or f"no {name}"
            raise ValueError(f"{graph}: {told}, elsewhere {tensor}")


def seal(manifest: Manifest) -> bytes:
    """The bytes of `manifest.json`, with the id that those bytes themselves determine."""
    unsealed = manifest.model_copy(update={"bundle_id": UNSEALED})
    text = json.dumps(unsealed.model_dump(mode="json"), indent=1, ensure_ascii=True, sort_keys=True) + "\n"
    raw = text.encode()
    return raw.replace(UNSEALED.encode(), _digest(raw).encode(), 1)


def parse_manifest(raw: bytes, file: str = MANIFEST_FILE) -> Manifest:
    """Read and check the bytes of a manifest.

    Raises:
        BundleError: not JSON, an unknown format, a field that does not fit, or bytes that do not
            reproduce the id they carry.
    """
    try:
        document = json.loads(raw.decode(), object_pairs_hook=_unrepeated, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BundleError(file, f"no JSON ({error})", "a manifest") from error
    version = document.get("format_version") if isinstance(document, dict) else None
    if type(version) is not int or version not in FORMAT_VERSIONS:
        known = " or ".join(map(str, FORMAT_VERSIONS))
        raise BundleError(file, f"format_version {reprlib.repr(version)}", f"format_version {known}")
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        said = [*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")]
        raise BundleError(file, ": ".join(said), f"a manifest of format {version}") from error
    digest = _digest(raw.replace(manifest.bundle_id.encode(), UNSEALED.encode(), 1))
    if digest != manifest.bundle_id:
        raise BundleError(file, f"bytes of digest {digest[:12]}", f"bundle_id {manifest.bundle_id[:12]}")
    return manifest


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that occurs twice: one reader would take its first value, another its last."""
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError(f"a key twice among {', '.join(sorted(key for key, _ in pairs))}")
    return document


def _no_number(constant: str) -> float:
    raise ValueError(f"{constant}, which is no JSON")


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
