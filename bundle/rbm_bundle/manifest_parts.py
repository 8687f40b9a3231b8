"""The parts of a manifest: graphs, features, nodes, golden rows, the student and where it comes from."""

from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

NO_EXPERT: Final = -1
"""In `experts`, the places that a layer leaves empty because another sends its rows to more experts."""
MAX_MAP_NODES: Final = 2000
HEAD_OF: Final = {"rbm": "rbm-head", "moe": "moe-head"}
"""Kinds of students with experts in all layers, and those with experts in the last one alone."""

Provider = Literal["cpu", "cuda"]
IdKind = Literal["range", "integer", "string"]
CachedFeatures = Literal["dense", "csr"] | None
FeatureForm = Literal["dense", "sparse"]
FeatureScaling = Literal["none", "l2", "standardised"]
Setting = Literal["transductive", "inductive"]

Accuracy = float | None


class ManifestPart(BaseModel):
    """What a manifest is made of: frozen, no field unknown, no number that JSON lacks."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class TensorSpec(ManifestPart):
    """One input or output of a graph; the batch dimension is `None`."""

    name: str
    dtype: Literal["float32", "int64"]
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} {self.shape}"


class GraphEntry(ManifestPart):
    """The ONNX graph that serves one execution provider."""

    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class FileEntry(ManifestPart):
    """What a file of the bundle must be, to the bit."""

    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class FeatureSpec(ManifestPart):
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
    names: tuple[str, ...] | None = Field(default=None, exclude_if=lambda names: names is None)
    """Names of the columns, in their order; absent where they have none, or are made of records."""

    @model_validator(mode="after")
    def _form_fits(self) -> Self:
        if (self.form == "sparse") != (self.max_nonzeros is not None):
            raise ValueError(f"form {self.form} with max_nonzeros {self.max_nonzeros}")
        if self.form == "sparse" and self.scaling == "standardised":
            raise ValueError("sparse features that are standardised would be dense")
        return self

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        if self.names is not None and len(self.names) != self.num_features:
            raise ValueError(f"{len(self.names)} names of {self.num_features} features")
        if self.names is not None and len(set(self.names)) < len(self.names):
            raise ValueError("a feature named twice")
        return self

    def inputs(self) -> dict[str, tuple[int | None, ...]]:
        """The graph inputs that carry features, and their shapes."""
        if self.form == "dense":
            return {"features": (None, self.num_features)}
        return {"feature_ids": (None, None), "feature_values": (None, None)}


class NodesSpec(ManifestPart):
    """The nodes the bundle knows, and what it does about those it does not."""

    num_nodes: int = Field(ge=0)
    """N, the known nodes."""
    id_kind: IdKind
    """What their ids are: `range`, the numbers from 0 to N-1, other integers, or strings."""
    position_width: int = Field(ge=0)
    """P, the width of a positional encoding; 0 where the model takes none."""
    unseen_rule: Literal["mean_of_known_neighbors"]
    """Where the position of an unknown node comes from."""


class GoldenSpec(ManifestPart):
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


class MapSpec(ManifestPart):
    """Where some known nodes lie: a plane in which the inputs of a layer spread the most, as its routing
    compares them."""

    file: str
    num_nodes: int = Field(ge=1, le=MAX_MAP_NODES)
    """R, the nodes on the map."""
    layer: int = Field(ge=0)
    """The layer, from 0."""
    has_experts: bool
    """Whether it compares its inputs with something; the map then has the first expert of each node, and the
    place of each expert."""


class Architecture(ManifestPart):
    """The student inside the graphs."""

    student: str
    """Kind of the student."""
    layer_widths: tuple[int, ...]
    """Widths of the input of the first layer and of the output of each layer."""
    num_experts: tuple[int, ...]
    """Experts of each layer; one number where all layers share the choice of the first one."""
    experts_per_row: int = Field(ge=1)
    """K, the most experts that a layer sends a row to."""
    router_width: int | None = Field(default=None, ge=1)
    """What a learnt router projects a row to; null where there is none."""
    num_parameters: int = Field(ge=1)
    """Parameters of the student."""
    temperature: float = Field(gt=0)
    """What logits are divided by before the softmax."""

    @model_validator(mode="before")
    @classmethod
    def _named_by_layers(cls, given: object) -> object:
        """Bundles of earlier releases call a mixture in the last layer alone as one in all layers."""
        if not isinstance(given, Mapping) or given.get("student") not in tuple(HEAD_OF):
            return given
        experts = given.get("num_experts")
        if not isinstance(experts, list | tuple) or len(experts) < 2 or experts[-1] == 1:
            return given
        is_head = all(number == 1 for number in experts[:-1])
        return {**given, "student": HEAD_OF[given["student"]]} if is_head else given


class Metrics(ManifestPart):
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
    val_accuracy_without_neighbors: float | None = Field(default=None, exclude_if=lambda share: share is None)
    """Accuracy on the validation nodes as if none of their neighbours were known, inductive on those that no
    graph held; absent without positions and in bundles of the release before, and so are the next three."""
    test_accuracy_without_neighbors: float | None = Field(
        default=None, exclude_if=lambda share: share is None
    )
    """The same on the test nodes."""
    baseline_val_accuracy_without_neighbors: float | None = Field(
        default=None, exclude_if=lambda share: share is None
    )
    """Logistic regression's accuracy on these validation nodes."""
    baseline_test_accuracy_without_neighbors: float | None = Field(
        default=None, exclude_if=lambda share: share is None
    )
    """Logistic regression's accuracy on the test nodes."""


class Provenance(ManifestPart):
    """Where the bundle comes from; `git_commit` is that of the code that made it, null where that was
    no checkout.

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
