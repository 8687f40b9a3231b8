"""A model in service, with everything that belongs to it."""

from dataclasses import dataclass, field

from pydantic_core import to_json

from rbm_bundle import Bundle
from rbm_bundle.manifest_parts import Provider
from rbm_service.inference.batcher import Batcher
from rbm_service.observability.model_metrics import ModelMetrics
from rbm_service.runtime.engine import Engine


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """A model that is verified, self-tested and warm; equal to itself alone."""

    name: str
    version: int
    device: Provider
    bundle: Bundle
    engine: Engine
    batcher: Batcher
    metrics: ModelMetrics
    as_json: bytes = field(init=False)  # its name and version, as answers have them

    def __post_init__(self) -> None:
        object.__setattr__(self, "as_json", to_json({"name": self.name, "version": self.version}))
