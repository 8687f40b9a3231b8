"""The JSON of the protocol: what its clients send, read and checked.

Dimension letters: B rows, F features, P position width, S non-zeros of the longest row.
"""

from collections.abc import Sequence
from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Tag, ValidationError
from pydantic_core import ErrorDetails

from rbm_service.errors import FieldError, InvalidJsonError, InvalidRequestError, ServiceError

Datatype = Literal["FP32", "INT64", "BYTES"]

# One error says enough: a million wrong numbers are not answered with a million errors.
FIRST_ERROR_ONLY: Final = Field(fail_fast=True)
# The two forms of `data`; where neither fits, the place of an error has one of these behind it.
FLAT: Final = "flat"
NESTED: Final = "nested"
TAGS: Final = frozenset({FLAT, NESTED, "FP32", "INT64", "BYTES"})
MAX_SHOWN: Final = 200  # characters of what the caller made up

Size = Annotated[int, Field(ge=0, lt=2**31)]
Numbers = Annotated[list[float], FIRST_ERROR_ONLY]
Integers = Annotated[list[Annotated[int, Field(ge=-(2**63), lt=2**63)]], FIRST_ERROR_ONLY]
Strings = Annotated[list[str], FIRST_ERROR_ONLY]
Body = TypeVar("Body", bound=BaseModel)


class _Received(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class _Parameters(_Received):
    """Open by the protocol: what is not listed is for other servers, and ignored."""

    model_config = ConfigDict(extra="ignore")

    shared_memory_region: str | None = None
    """Refused: there is no shared memory here."""


class InputParameters(_Parameters):
    """How the data of an input come."""

    binary_data_size: Size | None = None
    """Bytes of the data, which follow the JSON in the order of the inputs; `data` is left out."""


class _Input(_Received):
    name: str
    shape: Annotated[list[Size], Field(min_length=1, max_length=2)]
    parameters: InputParameters = InputParameters()


class FloatInput(_Input):
    """`features` [B, F], `feature_values` [B, S], padded with 0, or `positions` [B, P]."""

    datatype: Literal["FP32"]
    data: Annotated[Numbers, Tag(FLAT)] | Annotated[list[Numbers], FIRST_ERROR_ONLY, Tag(NESTED)] | None = (
        None
    )


class IntegerInput(_Input):
    """`node_ids` [B] of models with integer ids, or `feature_ids` [B, S], padded with F."""

    datatype: Literal["INT64"]
    data: Annotated[Integers, Tag(FLAT)] | Annotated[list[Integers], FIRST_ERROR_ONLY, Tag(NESTED)] | None = (
        None
    )


class BytesInput(_Input):
    """`node_ids` [B] of models with string ids, as UTF-8."""

    datatype: Literal["BYTES"]
    data: Annotated[Strings, Tag(FLAT)] | Annotated[list[Strings], FIRST_ERROR_ONLY, Tag(NESTED)] | None = (
        None
    )


Input = FloatInput | IntegerInput | BytesInput


class OutputParameters(_Parameters):
    """How an output is wanted."""

    classification: Annotated[int, Field(ge=1)] | None = None
    """Instead of the scores, the classes of the highest: this many strings `score:index:label` a row."""

    binary_data: bool | None = None
    """Whether as bytes behind the JSON; unset, `binary_data_output` of the request says so."""


class RequestedOutput(_Received):
    """An output that is wanted."""

    name: str
    parameters: OutputParameters = OutputParameters()


class RequestParameters(_Parameters):
    """What holds for the whole request."""

    timeout: Annotated[int, Field(ge=0)] | None = None
    """Microseconds after which the answer is of no use; can only shorten the time limit of the service.
    0 is none."""

    binary_data_output: bool = False
    """Whether outputs come as bytes behind the JSON, unless `binary_data` of an output says otherwise."""


class InferRequest(_Received):
    """The tensors of B nodes; what they leave out is looked up by `node_ids`."""

    id: str | None = None
    """Given back with the answer."""

    parameters: RequestParameters = RequestParameters()
    inputs: Annotated[
        list[Annotated[Input, Field(discriminator="datatype")]], Field(min_length=1), FIRST_ERROR_ONLY
    ]
    outputs: Annotated[list[RequestedOutput], FIRST_ERROR_ONLY] = []
    """Those that are wanted; none, `probabilities`."""

    @property
    def timeout_seconds(self) -> float | None:
        """The time limit of the caller, if there is one."""
        return self.parameters.timeout / 1e6 if self.parameters.timeout else None


class IndexRequest(_Received):
    """Which models to list."""

    ready: bool = False
    """Only those that are in service."""


class ChangeParameters(_Received):
    """What goes with loading or unloading a model; neither its configuration nor its files can be sent."""

    unload_dependents: bool = False
    """Without effect: no model depends on another."""


class ChangeRequest(_Received):
    """Loads or unloads a model."""

    parameters: ChangeParameters = ChangeParameters()


def parse(header: bytes, schema: type[Body]) -> Body:
    """Read the JSON of a request.

    Raises:
        InvalidJsonError: it is none.
        InvalidRequestError: it is not what the protocol says.
    """
    try:
        return schema.model_validate_json(header)
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> ServiceError:
    found = _meant(error.errors(include_url=False, include_context=False, include_input=False))
    if found[0]["type"] == "json_invalid":
        return InvalidJsonError(found[0]["msg"])
    return InvalidRequestError(str(FieldError(_shown(found[0]["loc"]), found[0]["msg"][:MAX_SHOWN])))


def _meant(found: Sequence[ErrorDetails]) -> Sequence[ErrorDetails]:
    """Pydantic speaks of both forms of `data`; the caller meant one of them."""
    no_rows = any(item["loc"][-2:] == (NESTED, 0) and item["type"] == "list_type" for item in found)
    other = NESTED if no_rows else FLAT
    return [item for item in found if other not in item["loc"]] or found


def _shown(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    places = [part for part in loc if part not in TAGS]
    return tuple(part[:MAX_SHOWN] if isinstance(part, str) else part for part in places)
