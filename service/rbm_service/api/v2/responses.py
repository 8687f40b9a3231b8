"""The bodies of answers; what `/openapi.json` shows of the protocol comes from here and from `bodies`."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.json_schema import models_json_schema

from rbm_service.api.v2.requests import ChangeRequest, Datatype, IndexRequest, InferRequest
from rbm_service.serving.manager import State


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class InferenceError(_Answer):
    """An error, on every route under `/v2`."""

    error: str


class ServerMetadata(_Answer):
    """What serves, and which extensions of the protocol it has."""

    name: str
    version: str
    extensions: tuple[str, ...]


class Liveness(_Answer):
    """The event loop turns."""

    live: Literal[True] = True


class Readiness(Liveness):
    """A model is in service, to stay there."""

    ready: Literal[True] = True


class ModelReadiness(_Answer):
    """This very model is in service."""

    name: str
    ready: Literal[True] = True


class TensorMetadata(_Answer):
    """A tensor; -1 is a free size."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]


class ModelMetadata(_Answer):
    """The model in service: what it takes and gives."""

    name: str
    versions: tuple[str, ...]
    platform: Literal["onnx_onnxv1"] = "onnx_onnxv1"
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ConfigInput(_Answer):
    """An input, without its first dimension, the rows."""

    name: str
    data_type: str
    dims: tuple[int, ...]
    optional: bool


class ConfigOutput(_Answer):
    """An output, without its first dimension, the rows."""

    name: str
    data_type: str
    dims: tuple[int, ...]


class LatestVersion(_Answer):
    """One version is in service."""

    num_versions: Literal[1] = 1


class VersionPolicy(_Answer):
    """Which versions are in service."""

    latest: LatestVersion = LatestVersion()


class DynamicBatching(_Answer):
    """Requests that wait share a batch; none is held back for that."""


class ModelConfig(_Answer):
    """The model as Triton would configure it."""

    name: str
    platform: Literal["onnxruntime_onnx"] = "onnxruntime_onnx"
    backend: Literal["onnxruntime"] = "onnxruntime"
    version_policy: VersionPolicy = VersionPolicy()
    max_batch_size: int
    """Rows of one request."""

    input: list[ConfigInput]
    output: list[ConfigOutput]
    dynamic_batching: DynamicBatching = DynamicBatching()


class Duration(_Answer):
    """How many requests there were, and their time together."""

    count: int
    ns: int


class InferenceStatistics(_Answer):
    """Requests with an answer, by what they did."""

    success: Duration
    queue: Duration
    compute_input: Duration
    """Reading the body and looking up what it leaves out."""

    compute_infer: Duration
    """The batch a request was in."""

    compute_output: Duration


class ModelStatistics(_Answer):
    """What the model in service did since it was loaded, over every route."""

    name: str
    version: str
    inference_count: int
    """Rows."""

    execution_count: int
    """Forward passes."""

    inference_stats: InferenceStatistics


class Statistics(_Answer):
    """Of each model in service."""

    model_stats: list[ModelStatistics]


class ModelIndexRow(_Answer):
    """How a model of the repository does; it has no version where none was tried."""

    name: str
    version: str | None = None
    state: State
    reason: str


class ModelIndex(RootModel[list[ModelIndexRow]]):
    """A row for each model in service, on its way, refused or not loaded."""


class Done(_Answer):
    """It is done."""


class AnswerParameters(_Answer):
    """How an output comes."""

    binary_data_size: int


class AnsweredTensor(_Answer):
    """An output: its `data`, flat and row-major, or how many bytes of them follow the JSON."""

    name: str
    datatype: Datatype
    shape: list[int]
    data: list[float] | list[int] | list[str] | None = None
    parameters: AnswerParameters | None = None


class InferAnswer(_Answer):
    """The outputs that were wanted, in that order."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str
    id: str | None = Field(default=None)
    outputs: list[AnsweredTensor]


def components() -> dict[str, Any]:
    """Schemas that no route declares by itself."""
    _, schema = models_json_schema(
        [
            *((request, "validation") for request in (InferRequest, IndexRequest, ChangeRequest)),
            (InferenceError, "serialization"),
        ],
        ref_template="#/components/schemas/{model}",
    )
    return dict(schema["$defs"])
