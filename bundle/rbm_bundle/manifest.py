"""`manifest.json`: the index of a bundle, the only file read before anything is trusted.

The manifest proves itself. `bundle_id` is the SHA-256 of the file's own bytes with the id written as 64
zeros; those bytes hold the digest of every other file, so one id fixes the whole bundle to the last bit.
"""

import hashlib
import json
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rbm_bundle.errors import BundleError

FORMAT_VERSION: Final = 1
MANIFEST_FILE = "manifest.json"
UNSEALED = "0" * 64
NO_EXPERT: Final = -1
"""In `experts`, the places that a layer leaves empty because another sends its rows to more experts."""
NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"

Provider = Literal["cpu", "cuda"]
IdKind = Literal["range", "integer", "string"]
CachedFeatures = Literal["dense", "csr"] | None
FeatureForm = Literal["dense", "sparse"]
FeatureScaling = Literal["none", "l2", "standardised"]
Setting = Literal["transductive", "inductive"]

Accuracy = float | None


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TensorSpec(_Record):
    """One input or output of a graph; the batch dimension is `None`."""

    name: str
    dtype: Literal["float32", "int64"]
    shape: tuple[int | None, ...]


class GraphEntry(_Record):
    """The ONNX graph that serves one execution provider."""

    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class FileEntry(_Record):
    """What a file of the bundle must be, to the bit."""

    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class FeatureSpec(_Record):
    """The node features a caller sends: raw, since scaling is part of the graph.

    `dense` graphs take `features` (B, F); `sparse` ones `feature_ids` (B, S), padded with F, and
    `feature_values` (B, S), padded with 0, where S is whatever the longest row of a batch needs.
    """

    num_features: int = Field(ge=1)
    form: FeatureForm
    scaling: FeatureScaling
    cached: CachedFeatures
    max_nonzeros: int | None = Field(default=None, ge=0)
    """Of a known node, in the sparse form alone; a caller's row may have more."""

    @model_validator(mode="after")
    def _form_fits(self) -> Self:
        if (self.form == "sparse") != (self.max_nonzeros is not None):
            raise ValueError(f"form {self.form} with max_nonzeros {self.max_nonzeros}")
        if self.form == "sparse" and self.scaling == "standardised":
            raise ValueError("sparse features that are standardised would be dense")
        return self

    def inputs(self) -> dict[str, tuple[int | None, ...]]:
        """The graph inputs that carry features, and their shapes."""
        if self.form == "dense":
            return {"features": (None, self.num_features)}
        return {"feature_ids": (None, None), "feature_values": (None, None)}


class NodesSpec(_Record):
    """The nodes the bundle knows, and what it does about those it does not."""

    num_nodes: int = Field(ge=0)
    id_kind: IdKind
    position_width: int = Field(ge=0)
    unseen_rule: Literal["mean_of_known_neighbors"]


class GoldenSpec(_Record):
    """How close a session must come to the recorded rows.

    A row whose routing gap (similarity of the K-th minus the (K+1)-th expert, smallest over layers) is under
    `routing_margin` may route otherwise in float32; such rows are exempt, up to `max_exempt_share`.
    """

    file: str
    num_rows: int = Field(ge=1)
    rtol: float = Field(gt=0)
    atol: float = Field(gt=0)
    routing_margin: float = Field(ge=0)
    max_exempt_share: float = Field(ge=0, le=1)


class Architecture(_Record):
    """The student inside the graphs: its kind, layer widths, experts of each layer.

    `experts_per_row` is K, the most of any layer; `router_width` what a learnt router projects a row to, null
    where there is none.
    """

    student: str
    layer_widths: tuple[int, ...]
    num_experts: tuple[int, ...]
    experts_per_row: int = Field(ge=1)
    router_width: int | None = Field(default=None, ge=1)
    num_parameters: int = Field(ge=1)
    temperature: float = Field(gt=0)


class Metrics(_Record):
    """Accuracies (0..1) of the training run, each at the epoch of best validation; null where undefined."""

    val_accuracy: float
    test_accuracy: float
    test_accuracy_std: float | None
    teacher_test_accuracy: float
    unseen_accuracy: Accuracy
    teacher_unseen_accuracy: Accuracy
    calibration_error: float
    num_runs: int = Field(ge=1)


class Provenance(_Record):
    """Where the bundle comes from; `git_commit` is that of the directory the run was started in."""

    git_commit: str | None
    dataset: str
    dataset_sha256: str
    setting: Setting
    seed: int
    config: dict[str, Any]
    versions: dict[str, str]


class Manifest(_Record):
    """Everything about a bundle but the arrays. Equations and names follow docs/method.md."""

    format_version: Literal[1] = FORMAT_VERSION
    name: str = Field(pattern=NAME_PATTERN)
    bundle_id: str = Field(default=UNSEALED, pattern=r"^[0-9a-f]{64}$")
    created_at: str
    labels: tuple[str, ...] = Field(min_length=1)
    graphs: dict[Provider, GraphEntry]
    features: FeatureSpec
    nodes: NodesSpec
    golden: GoldenSpec
    architecture: Architecture
    metrics: Metrics
    provenance: Provenance
    files: dict[str, FileEntry] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        """What is said twice must be said alike: a service that trusts one would fail on the other."""
        shapes = {
            **self.features.inputs(),
            "positions": (None, self.nodes.position_width),
            "probabilities": (None, len(self.labels)),
            "logits": (None, len(self.labels)),
            "experts": (None, len(self.architecture.num_experts), self.architecture.experts_per_row),
        }
        position_inputs = {"positions"} if self.nodes.position_width else set()
        wanted_inputs = {*self.features.inputs(), *position_inputs}
        for provider, graph in self.graphs.items():
            found_inputs = {tensor.name for tensor in graph.inputs}
            if found_inputs != wanted_inputs:
                raise ValueError(
                    f"{provider} graph: inputs {sorted(found_inputs)}, elsewhere {sorted(wanted_inputs)}"
                )
            for tensor in (*graph.inputs, *graph.outputs):
                wanted = shapes.get(tensor.name, tensor.shape)
                if tensor.shape != wanted:
                    raise ValueError(f"{provider} graph: {tensor.name} {tensor.shape}, elsewhere {wanted}")
        return self


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
        document = json.loads(raw)
    except ValueError as error:
        raise BundleError(file, f"no JSON ({error})", "a manifest") from error
    version = document.get("format_version") if isinstance(document, dict) else None
    if version != FORMAT_VERSION:
        raise BundleError(file, f"format_version {version!r}", f"format_version {FORMAT_VERSION}")
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BundleError(file, f"{place}: {first['msg']}", "a manifest of format 1") from error
    digest = _digest(raw.replace(manifest.bundle_id.encode(), UNSEALED.encode(), 1))
    if digest != manifest.bundle_id:
        raise BundleError(file, f"bytes of digest {digest[:12]}", f"bundle_id {manifest.bundle_id[:12]}")
    return manifest


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
