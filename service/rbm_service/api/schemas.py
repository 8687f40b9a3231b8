"""The bodies of requests and answers; what `/openapi.json` shows comes from here.

Dimension letters: B rows, F features, P position width, C classes, L layers, K experts per row.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from rbm_bundle.manifest_parts import Architecture, FeatureSpec, Metrics, NodesSpec, Provider
from rbm_bundle.record_spec import RecordsSpec
from rbm_service.inference.preprocessing import PositionSource

T = TypeVar("T")

NodeId = int | str
# One error says enough: a million wrong numbers are not answered with a million errors.
Many = Annotated[list[T], Field(fail_fast=True)]
Size = Annotated[int, Field(ge=0, lt=2**31)]


# Of whatever kind its field is: the model's own description says more than a schema for all models can.
Value = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": ["string", "number", "boolean", "null"]},
                {"type": "array", "items": {"type": ["string", "integer"]}},
            ]
        }
    ),
]


class Body(BaseModel):
    """A body of a request or an answer, or a part of one: taken as it is, with no key that is not listed."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class SparseFeatures(Body):
    """Features of B nodes in compressed sparse rows (CSR): columns that are not listed are 0."""

    indptr: Annotated[Many[Size], Field(min_length=1)]
    """[B+1] row b is `indices[indptr[b]:indptr[b+1]]`: the first 0, none less than the one before it."""
    indices: Many[Size] = Field(description="Columns, 0 to F-1, strictly rising within a row")
    values: Many[float] | None = None
    """The features at those columns; when left out, every one is 1."""


class ClassifyRequest(Body):
    """B nodes to classify, column by column. At least one column is needed, and all have B entries."""

    node_ids: Many[NodeId] | None = None
    """[B] ids of nodes, all integers or all strings; optional when `neighbors` or `positions` are given."""
    features: Many[Many[float]] | SparseFeatures | None = None
    """[B][F] raw node features, or the same in compressed sparse rows; every model takes both forms.
    Optional when the model caches them for all of these ids."""
    records: Many[dict[str, Value]] | None = None
    """[B] raw records in place of features, for models that take them: `records.columns` of `/info` lists
    their fields. A field that is left out, or null, is a missing value."""
    neighbors: Many[Many[NodeId] | None] | None = None
    """[B] ids of each node's neighbours: its position is the mean of theirs, unknown ones left out. With null
    instead of a list, the position is looked up by the node's own id."""
    positions: Many[Many[float]] | None = None
    """[B][P] positional encodings, for callers who have them; they win over `neighbors` and `node_ids`."""
    model: str | None = None
    """Name of a model in service; when left out, the default model answers."""
    version: int | None = Field(default=None, ge=1)
    """The version that has to answer; the request is refused with 404 when another one is in service."""
    top_k: int = Field(default=1, ge=1, lt=2**31)
    """How many classes to list for each node, the most probable first."""
    explain: bool = False
    """Whether to name the experts that each node was routed to."""
    return_probabilities: bool = False
    """Whether to give the probability of every class."""
    min_confidence: float | None = Field(default=None, ge=0, le=1)
    """When the most probable class has a probability below this, the answer abstains: its label is null."""
    timeout_seconds: float | None = Field(default=None, gt=0)
    """How long the caller waits for the answer; can only shorten the time limit of the service."""


class ModelRef(Body):
    """A model in one version."""

    name: str = Field(description="Name of the model in the repository")
    version: int = Field(description="Its version, from 1")


class ShadowRef(Body):
    """A version that computes some of the requests a second time, for comparison."""

    version: int = Field(description="The version that is compared")
    share: float = Field(description="How many of the requests it computes, from 0 to 1")


class RankedClass(Body):
    """A class and its probability."""

    label: str = Field(description="Label of the class")
    class_index: int = Field(description="Its place in the labels of `/info`, from 0")
    probability: float = Field(description="Its probability, from 0 to 1")


class ChosenExpert(Body):
    """An expert that a node was routed to."""

    layer: int = Field(description="The layer, from 0")
    expert: int = Field(description="The expert of this layer, from 0")
    weight: float = Field(description="The share of the expert in the output of the layer")
    similarity: float = Field(description="How similar the node is to what the expert remembers")


class Prediction(Body):
    """The answer for one node."""

    node_id: NodeId | None = Field(description="Id of the node as it was sent, or null")
    label: str | None = Field(description="Label of the most probable class; null when the answer abstains")
    class_index: int
    """Place of this class in the labels of `/info`, from 0; among equals the lowest."""
    confidence: float = Field(description="Probability of this class")
    position: PositionSource
    """Where the node's position came from; `default` (zeros) when none of its neighbours is known."""
    top_k: list[RankedClass] | None = None
    """The most probable classes; only when more than one was asked for."""
    probabilities: list[float] | None = None
    """Probability of each class in the order of the labels of `/info`; only when asked for."""
    abstained: bool | None = None
    """Whether `confidence` is below `min_confidence`; only when that was given."""
    experts: list[ChosenExpert] | None = None
    """The experts that the node was routed to, layer by layer, at most K of each; only when asked for."""


class ClassifyResponse(Body):
    """One prediction per node, in the order of the request."""

    model: ModelRef = Field(description="The model and the version that answered")
    predictions: list[Prediction] = Field(description="[B] one for each node")


class ProblemField(Body):
    """One thing wrong with a request."""

    loc: list[str | int] = Field(description="Where in the body: keys, and places in lists from 0")
    msg: str = Field(description="What is wrong there")


class Problem(Body):
    """An error (RFC 9457); programs go by `code`."""

    type: Literal["about:blank"] = Field(description="Always `about:blank`: `code` names the kind of error")
    title: str = Field(description="The phrase of the HTTP status")
    status: int = Field(description="The HTTP status")
    detail: str = Field(description="What went wrong, for people; the wording may change")
    code: str = Field(description="The kind of error, for programs")
    request_id: str = Field(description="The value of `X-Request-ID`, by which the log knows the request")
    errors: list[ProblemField] | None = None
    """What is wrong where, if places in the body can be named."""


class Health(Body):
    """Whether the service is alive or ready."""

    status: Literal["alive", "ready"] = Field(description="`alive` of `/livez`, `ready` of `/readyz`")


class Limits(Body):
    """How much the service takes at once."""

    max_batch_rows: int = Field(description="Most rows in one forward pass")
    max_queued_rows: int = Field(description="Most rows that may wait")
    max_request_rows: int = Field(description="Most rows in one request")
    max_body_bytes: int = Field(description="Longest request body")
    request_timeout_seconds: float = Field(description="Longest time for a request once its body is there")


class Info(Body):
    """A model in service, and what it runs on."""

    model: ModelRef = Field(description="The model and its version in service")
    models: list[ModelRef] = Field(description="All models in service, the default first")
    shadow: ShadowRef | None = Field(description="The version that is compared with this one, if any")
    bundle_id: str = Field(description="SHA-256 that identifies every bit of the model's bundle")
    created_at: str = Field(description="When the bundle was written")
    labels: tuple[str, ...] = Field(description="[C] labels of the classes, in the order of their indices")
    features: FeatureSpec = Field(description="The features that the model takes")
    records: RecordsSpec | None = Field(
        default=None, description="The records that the model takes in place of features, if it does"
    )
    nodes: NodesSpec = Field(description="The nodes that the model knows")
    architecture: Architecture = Field(description="The network")
    metrics: Metrics = Field(description="How accurate the model was when it was trained")
    device: Provider = Field(description="What the model runs on")
    provider: str = Field(description="ONNX Runtime's execution provider")
    onnxruntime_version: str = Field(description="Version of ONNX Runtime")
    limits: Limits = Field(description="How much the service takes at once")
