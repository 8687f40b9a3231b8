"""The JSON of the protocol: what its clients send, read and checked.

Dimension letters: B rows, F features, P position width, S non-zeros of the longest row.
"""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import ConfigDict, Field

from rbm_service.api.schemas import Body, Many, Size
from rbm_service.inference.node_query import OnUnknown

Datatype = Literal["FP32", "INT64", "BYTES"]
Value = TypeVar("Value")


class _Parameters(Body):
    """Open by the protocol: what is not listed is for other servers, and ignored."""

    model_config = ConfigDict(extra="ignore")

    shared_memory_region: str | None = None
    """Refused: the service offers no shared memory."""


class InputParameters(_Parameters):
    """How the data of an input come."""

    binary_data_size: Size | None = None
    """Bytes of the data, if they follow the JSON, in the order of the inputs; `data` is then left out."""


class _Input(Body, Generic[Value]):
    name: str = Field(description="Name of the input, as the model's metadata list it")
    shape: Annotated[list[Size], Field(min_length=1, max_length=2)]
    """Rows, and where the tensor has columns, columns."""
    parameters: InputParameters = Field(default=InputParameters(), description="How the data come")
    datatype: Datatype
    data: Many[Value] | Many[Many[Value]] | None = None
    """The values in row-major order, flat or as a list of rows."""


class FloatInput(_Input[float]):
    """`features` [B, F], `feature_values` [B, S], padded with 0, `positions` [B, P], or a number of records
    [B], NaN where it is missing."""

    datatype: Literal["FP32"] = Field(description="32-bit floats")


class IntegerInput(_Input[Annotated[int, Field(ge=-(2**63), lt=2**63)]]):
    """`node_ids` [B] of models with integer ids, or `feature_ids` [B, S], padded with F."""

    datatype: Literal["INT64"] = Field(description="64-bit integers")


class BytesInput(_Input[str]):
    """`node_ids` [B] of models with string ids, or another field of records [B], as UTF-8."""

    datatype: Literal["BYTES"] = Field(description="Strings")


Input = FloatInput | IntegerInput | BytesInput


class OutputParameters(_Parameters):
    """In which form an output is wanted."""

    classification: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    """How many classes to give for each row as strings `score:index:label`, instead of every score."""
    binary_data: bool | None = None
    """Whether it comes as bytes behind the JSON; unset, `binary_data_output` of the request decides."""


class RequestedOutput(Body):
    """An output that is wanted."""

    name: str = Field(description="Name of the output, as the model's metadata list it")
    parameters: OutputParameters = Field(default=OutputParameters(), description="In which form it is wanted")


class RequestParameters(_Parameters):
    """What holds for the whole request."""

    timeout: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """How many microseconds the caller waits for the answer; can only shorten the time limit of the service.
    0: no limit of the caller's."""
    on_unknown: OnUnknown = "error"
    """What to do where the model does not know an id, and the node comes without a position or without
    features: `error` refuses the request, `null` answers for the other nodes, and with NaN for this one."""
    binary_data_output: bool = False
    """Whether outputs come as bytes behind the JSON, unless `binary_data` of an output says otherwise."""


class InferRequest(Body):
    """The tensors of B nodes; what they leave out is looked up by `node_ids`."""

    id: str | None = Field(default=None, description="Any text; it comes back with the answer")
    parameters: RequestParameters = RequestParameters()
    """Parameters of the request."""
    inputs: Annotated[Many[Annotated[Input, Field(discriminator="datatype")]], Field(min_length=1)]
    """The tensors that are sent."""
    outputs: Many[RequestedOutput] = Field(default=[])
    """The tensors that are wanted; when left out, `probabilities`."""

    @property
    def timeout_seconds(self) -> float | None:
        """How long the caller waits, None where it does not say."""
        return self.parameters.timeout / 1e6 if self.parameters.timeout else None


class IndexRequest(Body):
    """Which models to list."""

    ready: bool = Field(default=False, description="Whether to list only those that are in service")


class ChangeParameters(Body):
    """What goes with loading or unloading a model; neither its configuration nor its files can be sent."""

    unload_dependents: bool = Field(default=False, description="Without effect: no model depends on another")


class ChangeRequest(Body):
    """Loads or unloads a model."""

    parameters: ChangeParameters = Field(default=ChangeParameters(), description="What goes with it")
