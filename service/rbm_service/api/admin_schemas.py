"""The bodies of the admin's requests and answers."""

from pydantic import Field

from rbm_service.api.schemas import Body, ModelRef, ShadowRef


class PromoteRequest(Body):
    """Which version to put in service."""

    version: int = Field(ge=1, lt=2**63, description="A published version of the model")


class ChangeResponse(Body):
    """Which version is in service now, and which was before."""

    model: ModelRef = Field(description="The model and its version in service")
    former_version: int | None
    """The version before; the same one where nothing had to change."""
    notes: list[str] = Field(
        description="What callers notice: classes, record fields, features and ids that differ from the "
        "version before, a line each; or that it is the same, byte for byte"
    )


class ShadowRequest(Body):
    """Which version to compare with the one in service."""

    version: int = Field(ge=1, lt=2**63, description="A published version of the model")
    share: float = Field(gt=0, le=1, description="How many of the requests it computes, over 0 and up to 1")


class ModelVersion(Body):
    """A published version, as its manifest describes it."""

    version: int = Field(description="Its number, from 1")
    bundle_id: str = Field(description="SHA-256 that identifies every bit of its bundle")
    created_at: str = Field(description="When the bundle was written")
    student: str = Field(description="Kind of the student")
    num_parameters: int = Field(description="Parameters of the student")
    val_accuracy: float = Field(description="Accuracy on the validation nodes")
    test_accuracy: float = Field(description="Accuracy on the test nodes")
    teacher_test_accuracy: float = Field(description="The teacher's accuracy on the test nodes")


class UnreadableVersion(Body):
    """A published version whose manifest cannot be read."""

    version: int = Field(description="Its number, from 1")
    error: str = Field(description="What is wrong with its manifest")


class ModelVersions(Body):
    """What the repository holds of a model, and what of it is in service."""

    name: str = Field(description="Name of the model in the repository")
    current: int | None = Field(description="The promoted version, as `CURRENT` says")
    in_service: int | None = Field(description="The version in service")
    shadow: ShadowRef | None = Field(description="The version that is compared, as `SHADOW` says")
    versions: list[ModelVersion | UnreadableVersion] = Field(
        description="All that are published, newest first"
    )
    problems: list[str] = Field(description="What is wrong with `CURRENT` or `SHADOW`, if anything is")
