"""The bodies of requests and answers; what `/openapi.json` shows comes from here.

Dimension letters: B rows, F features, P position width, C classes, L layers, K experts per row.
"""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Tag

from rbm_bundle.manifest import Architecture, FeatureSpec, Metrics, NodesSpec, Provider
from rbm_service.inference.features import CsrRows
from rbm_service.inference.preprocessing import NodeQuery, PositionSource


def _let_others_run(row: list[float]) -> list[float]:
    """Pydantic reads a body without once letting another thread run; between two rows, a call lets it."""
    return row


NodeId = int | str
# One error says enough: a body of a million wrong numbers is not answered with a million errors.
FIRST_ERROR_ONLY = Field(fail_fast=True)
Numbers = Annotated[list[float], FIRST_ERROR_ONLY]
Row = Annotated[Numbers, AfterValidator(_let_others_run)]
NodeIds = Annotated[list[NodeId], FIRST_ERROR_ONLY]
Offsets = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], FIRST_ERROR_ONLY]
# The two forms of `features`; where neither fits, the place of an error begins with one of these.
DENSE_FORM: Final = "dense"
CSR_FORM: Final = "csr"


class _Body(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class SparseFeatures(_Body):
    """Features of B nodes in compressed sparse rows (CSR): columns that are not listed are 0."""

    indptr: Annotated[Offsets, Field(min_length=1)]
    """[B+1] row b is `indices[indptr[b]:indptr[b+1]]`: the first 0, none less than the one before it."""

    indices: Offsets
    """Columns, 0 to F-1, strictly rising within a row."""

    values: Numbers | None = None
    """The features at those columns; when left out, every one is 1."""

    def rows(self) -> CsrRows:
        """The rows, as yet unchecked against each other."""
        return CsrRows(self.indptr, self.indices, self.values)


class ClassifyRequest(_Body):
    """B nodes to classify, column by column; at least one column gives B."""

    node_ids: NodeIds | None = None
    """[B] ids of nodes; optional when `neighbors` or `positions` are given."""

    features: (
        Annotated[list[Row], FIRST_ERROR_ONLY, Tag(DENSE_FORM)]
        | Annotated[SparseFeatures, Tag(CSR_FORM)]
        | None
    ) = None
    """[B][F] raw node features, or the same in compressed sparse rows; every model takes both forms.
    Optional when the model caches them for all of these ids."""

    neighbors: Annotated[list[NodeIds | None], FIRST_ERROR_ONLY] | None = None
    """[B] ids of each node's neighbours; its position is the mean of the known ones'. Null: look it up."""

    positions: Annotated[list[Row], FIRST_ERROR_ONLY] | None = None
    """[B][P] positional encodings, when the caller has them; they win over `neighbors` and over the table."""

    model: str | None = None
    """Name of the model; when left out, the default."""

    version: int | None = Field(default=None, ge=1)
    """The version that has to answer; refused when another one is in service."""

    top_k: int = Field(default=1, ge=1)
    """How many classes to list for each node, most probable first."""

    explain: bool = False
    """Whether to name the experts that each node was routed to."""

    return_probabilities: bool = False
    """Whether to give the probability of every class."""

    min_confidence: float | None = Field(default=None, ge=0, le=1)
    """Below this probability the answer abstains: no label."""

    timeout_seconds: float | None = Field(default=None, gt=0)
    """After how long the answer is of no use; can only shorten the time limit of the service."""

    def query(self) -> NodeQuery:
        """The columns."""
        features = self.features.rows() if isinstance(self.features, SparseFeatures) else self.features
        return NodeQuery(self.node_ids, features, self.neighbors, self.positions)


class ModelRef(_Body):
    """A model in one version."""

    name: str
    version: int


class ShadowRef(_Body):
    """A version that answers a share of the requests once more, for comparison."""

    version: int
    share: float


class PromoteRequest(_Body):
    """Which version to put in service."""

    version: int = Field(ge=1)


class ChangeResponse(_Body):
    """What is in service now, and which version was before: the same one where nothing had to change."""

    model: ModelRef
    former_version: int | None


class RankedClass(_Body):
    """A class and its probability."""

    label: str
    class_index: int
    probability: float


class ChosenExpert(_Body):
    """An expert that a node was routed to: its share of the layer's output, and how alike the two are."""

    layer: int
    expert: int
    weight: float
    similarity: float


class Prediction(_Body):
    """The answer for one node."""

    node_id: NodeId | None
    label: str | None
    class_index: int
    confidence: float
    position: PositionSource
    """Where the node's position came from; `default` (zeros) when none of its neighbours is known."""

    top_k: list[RankedClass] | None = None
    """Only when more than one class was asked for."""

    probabilities: list[float] | None = None
    """Only when asked for; in the order of the labels of `/info`."""

    abstained: bool | None = None
    """Only when `min_confidence` was given; the label is null when true."""

    experts: list[ChosenExpert] | None = None
    """Only when asked for; layer by layer, at most K of each."""


class ClassifyResponse(_Body):
    """One prediction per node, in the order of the request."""

    model: ModelRef
    predictions: list[Prediction]


class ProblemField(_Body):
    """One thing wrong with a request."""

    loc: list[str | int]
    msg: str


class Problem(_Body):
    """An error (RFC 9457); programs go by `code`."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[ProblemField] | None = None


class Health(_Body):
    """Whether the service lives or is ready."""

    status: Literal["alive", "ready"]


class Limits(_Body):
    """How much the service takes at once."""

    max_batch_rows: int
    max_queued_rows: int
    max_request_rows: int
    max_body_bytes: int
    request_timeout_seconds: float


class Info(_Body):
    """A model in service, and on what it runs."""

    model: ModelRef
    models: list[ModelRef]
    """All that are in service, the default first."""

    shadow: ShadowRef | None
    """The version that is compared with this model on a share of its requests."""

    bundle_id: str
    created_at: str
    labels: tuple[str, ...]
    features: FeatureSpec
    nodes: NodesSpec
    architecture: Architecture
    metrics: Metrics
    device: Provider
    provider: str
    onnxruntime_version: str
    limits: Limits
