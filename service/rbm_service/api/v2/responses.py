"""The bodies of the protocol's answers."""

from typing import Annotated, Literal

from pydantic import Field

from rbm_service.api.schemas import Body
from rbm_service.api.v2.requests import Datatype
from rbm_service.serving.changes import State

VersionText = Annotated[str, Field(strict=False, coerce_numbers_to_str=True)]


class InferenceError(Body):
    """An error, on every route under `/v2`."""

    error: str = Field(description="What went wrong")


class ServerMetadata(Body):
    """What serves, and which extensions of the protocol it has."""

    name: str = Field(description="Name of the server")
    version: str = Field(description="Version of the server")
    extensions: tuple[str, ...] = Field(description="Names of the extensions")


class Liveness(Body):
    """The event loop runs."""

    live: Literal[True] = Field(default=True, description="Always true: otherwise there is no answer")


class Readiness(Liveness):
    """Every model is in service."""

    ready: Literal[True] = Field(default=True, description="Always true: otherwise the answer is an error")


class ModelReadiness(Body):
    """This model is in service."""

    name: str = Field(description="Name of the model")
    ready: Literal[True] = Field(default=True, description="Always true: otherwise the answer is an error")


class TensorMetadata(Body):
    """An input or an output."""

    name: str = Field(description="Name of the tensor")
    datatype: Datatype = Field(description="Type of its values")
    shape: tuple[int, ...] = Field(description="Its shape; -1 is a free size")


class ModelMetadata(Body):
    """What the model in service takes and gives."""

    name: str = Field(description="Name of the model")
    versions: tuple[str, ...] = Field(description="The version in service")
    platform: Literal["onnx_onnxv1"] = Field(default="onnx_onnxv1", description="Format of the model")
    inputs: list[TensorMetadata] = Field(description="The tensors that it takes")
    outputs: list[TensorMetadata] = Field(description="The tensors that it gives")


class ConfigOutput(Body):
    """An output as Triton would configure it."""

    name: str = Field(description="Name of the tensor")
    data_type: str = Field(description="Type of its values, as in `TYPE_FP32`")
    dims: tuple[int, ...] = Field(description="Its shape without the rows; -1 is a free size")


class ConfigInput(ConfigOutput):
    """An input as Triton would configure it."""

    optional: bool = Field(description="Whether it may be left out, to be looked up by the node's id")


class ModelConfig(Body):
    """The model as Triton would configure it."""

    name: str = Field(description="Name of the model")
    platform: Literal["onnxruntime_onnx"] = "onnxruntime_onnx"
    """What runs the model."""
    backend: Literal["onnxruntime"] = "onnxruntime"
    """Triton's backend of the same kind."""
    version_policy: dict[str, dict[str, int]] = Field(default={"latest": {"num_versions": 1}})
    """Which versions are in service: the latest that was promoted."""
    max_batch_size: int = Field(description="Most rows in one request")
    input: list[ConfigInput] = Field(description="The tensors that it takes")
    output: list[ConfigOutput] = Field(description="The tensors that it gives")
    dynamic_batching: dict[str, int] = Field(default={})
    """Without options: requests that wait share a batch, and none is held back for that."""


class Duration(Body):
    """How many requests there were, and their time together."""

    count: int = Field(description="Requests")
    ns: int = Field(description="Their time together, in nanoseconds")


class InferenceStatistics(Body):
    """Answered requests and their time, as a whole and in parts."""

    success: Duration = Field(description="All of the parts below")
    queue: Duration = Field(description="Waiting for a batch")
    compute_input: Duration = Field(description="Reading the body and looking up what it leaves out")
    compute_infer: Duration = Field(description="The batch that a request was in")
    compute_output: Duration = Field(description="Writing the answer")


class ModelStatistics(Body):
    """What the model in service did since it was loaded, over every route."""

    name: str = Field(description="Name of the model")
    version: str = Field(description="Its version in service")
    inference_count: int = Field(description="Rows that were computed")
    execution_count: int = Field(description="Forward passes")
    inference_stats: InferenceStatistics = Field(description="Answered requests and their time")


class Statistics(Body):
    """What models in service did since they were loaded."""

    model_stats: list[ModelStatistics] = Field(description="One entry for each model")


class ModelIndexRow(Body):
    """How things are with a model of the repository."""

    name: str = Field(description="Name of the model")
    version: VersionText | None = Field(default=None, description="Its version; none where none was tried")
    state: State = Field(description="`READY`: in service")
    reason: str = Field(description="Why it is not in service; empty where there is nothing to say")


class Done(Body):
    """It is done."""


class AnswerParameters(Body):
    """How the data of an output come."""

    binary_data_size: int
    """Bytes of the data, which follow the JSON in the order of the outputs."""


class AnsweredTensor(Body):
    """An output."""

    name: str = Field(description="Name of the output")
    datatype: Datatype = Field(description="Type of its values")
    shape: list[int] = Field(description="Its shape, rows first")
    data: list[float] | list[int] | list[str] | None = None
    """The values, flat and in row-major order; absent where they follow the JSON as bytes."""
    parameters: AnswerParameters | None = None
    """How many bytes follow the JSON, where the data come in this way."""


class InferAnswer(Body):
    """The outputs that were wanted, in that order."""

    model_name: str = Field(description="The model that answered")
    model_version: str = Field(description="Its version")
    id: str | None = Field(default=None, description="The id of the request, where it had one")
    outputs: list[AnsweredTensor] = Field(description="The outputs")
