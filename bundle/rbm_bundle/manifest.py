"""`manifest.json`: the index of a bundle, the only file read before anything is trusted.

The manifest proves itself. `bundle_id` is the SHA-256 of the file's own bytes with the id written as 64
zeros; those bytes hold the digest of every other file, so one id fixes the whole bundle to the last bit.
"""

import hashlib
import json
import reprlib
from collections.abc import Sequence
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rbm_bundle.errors import BundleError
from rbm_bundle.record_spec import RecordsSpec

FORMAT_VERSIONS: Final = (1, 2)
"""Those that are read; 2 has `records`, and what lacks them is still written as 1."""
MANIFEST_FILE = "manifest.json"
UNSEALED = "0" * 64
NO_EXPERT: Final = -1
"""In `experts`, the places that a layer leaves empty because another sends its rows to more experts."""
INTEGER_TENSORS: Final = frozenset({"feature_ids", "experts"})
NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"

Provider = Literal["cpu", "cuda"]
IdKind = Literal["range", "integer", "string"]
CachedFeatures = Literal["dense", "csr"] | None
FeatureForm = Literal["dense", "sparse"]
FeatureScaling = Literal["none", "l2", "standardised"]
Setting = Literal["transductive", "inductive"]

Accuracy = float | None


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class TensorSpec(_Record):
    """One input or output of a graph; the batch dimension is `None`."""

    name: str
    dtype: Literal["float32", "int64"]
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} {self.shape}"


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
    """F, the columns of a row."""
    form: FeatureForm
    """The form in which the graph takes them."""
    scaling: FeatureScaling
    """How the graph scales them."""
    cached: CachedFeatures
    """How the bundle stores the features of known nodes; null where it stores none."""
    max_nonzeros: int | None = Field(default=None, ge=0)
    """Most non-zeros of a known node, in the sparse form alone; a caller's row may have more."""

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
    """N, the known nodes."""
    id_kind: IdKind
    """What their ids are: `range`, the numbers from 0 to N-1, other integers, or strings."""
    position_width: int = Field(ge=0)
    """P, the width of a positional encoding; 0 where the model takes none."""
    unseen_rule: Literal["mean_of_known_neighbors"]
    """Where the position of an unknown node comes from."""


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
    """The student inside the graphs."""

    student: str
    """Kind of the student."""
    layer_widths: tuple[int, ...]
    """Widths of the input of the first layer and of the output of each layer."""
    num_experts: tuple[int, ...]
    """Experts of each layer."""
    experts_per_row: int = Field(ge=1)
    """K, the most experts that a layer sends a row to."""
    router_width: int | None = Field(default=None, ge=1)
    """What a learnt router projects a row to; null where there is none."""
    num_parameters: int = Field(ge=1)
    """Parameters of the student."""
    temperature: float = Field(gt=0)
    """What logits are divided by before the softmax."""


class Metrics(_Record):
    """Accuracies (0..1) of the model itself, at its epoch of best validation, and the mean and deviation of
    the test accuracy over the runs it was chosen from; null where undefined."""

    val_accuracy: float
    """Accuracy on the validation nodes."""
    test_accuracy: float
    """Accuracy on the test nodes."""
    test_accuracy_mean: float | None = Field(default=None, exclude_if=lambda mean: mean is None)
    """Mean of the test accuracy over several runs; absent for one run, and in bundles of the release before,
    whose accuracies are all means."""
    test_accuracy_std: float | None
    """Standard deviation of the test accuracy over several runs."""
    teacher_test_accuracy: float
    """The teacher's accuracy on the test nodes."""
    unseen_accuracy: Accuracy
    """Accuracy on nodes that were no part of the graph in training."""
    teacher_unseen_accuracy: Accuracy
    """The teacher's accuracy on these nodes."""
    calibration_error: float
    """Expected calibration error on the test nodes."""
    num_runs: int = Field(ge=1)
    """Runs that mean and standard deviation are taken over."""
    num_training_labels: int | None = Field(default=None, exclude_if=lambda count: count is None)
    """Labels that the measured model learnt from; absent in bundles of the release before."""


class Provenance(_Record):
    """Where the bundle comes from; `git_commit` is that of the directory the run was started in.

    With `refit` the model was fitted once more, on all labels and all nodes, after the metrics were measured
    on a fit of some labels; absent, it is the measured model.
    """

    git_commit: str | None
    dataset: str
    dataset_sha256: str
    setting: Setting
    seed: int
    config: dict[str, Any]
    versions: dict[str, str]
    refit: bool = Field(default=False, exclude_if=lambda refit: not refit)


class Manifest(_Record):
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
    def _records_fit(self) -> Self:
        if (self.records is not None) != (self.format_version == 2):
            has = "no records" if self.records is None else "records"
            raise ValueError(f"{has} in format {self.format_version}; format 2 has them, format 1 has none")
        F = self.features.num_features
        if self.records is not None and self.records.num_features != F:
            raise ValueError(f"records of {self.records.num_features} features, elsewhere {F}")
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
