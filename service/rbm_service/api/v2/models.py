"""`GET /v2/models/…`: what a model takes and gives, whether it is ready, how it is configured."""

from collections.abc import Iterable

from fastapi import Request, Response

from rbm_bundle import Manifest
from rbm_service.api.dependencies import app_state_of
from rbm_service.api.v2.responses import (
    ConfigInput,
    ConfigOutput,
    Duration,
    InferenceStatistics,
    ModelConfig,
    ModelMetadata,
    ModelReadiness,
    ModelStatistics,
    Statistics,
    TensorMetadata,
)
from rbm_service.api.v2.routes import add_model_routes, add_route, json_response, new_router
from rbm_service.api.v2.tensors import listed_inputs, listed_outputs
from rbm_service.errors import UnknownModelError
from rbm_service.observability.metrics import STAGES, Stage
from rbm_service.observability.model_metrics import ModelTotals
from rbm_service.serving.model import ServedModel
from rbm_service.serving.registry import shown
from rbm_service.serving.slot import Lease

router = new_router()


async def get_model(request: Request) -> Response:
    """Describes a model: its version in service, its inputs, its outputs."""
    model = present_model(request)
    manifest = model.bundle.manifest
    return json_response(
        ModelMetadata(
            name=model.name,
            versions=(str(model.version),),
            inputs=listed_inputs(manifest),
            outputs=listed_outputs(manifest, model.device),
        )
    )


async def get_model_ready(request: Request) -> Response:
    """Answers 200 while this very model is in service, else 404 or 503."""
    model = present_model(request)
    app_state_of(request).models.slot_of(model.name).check_ready()
    return json_response(ModelReadiness(name=model.name))


async def get_model_config(request: Request) -> Response:
    """Describes a model as Triton would configure it."""
    model = present_model(request)
    manifest = model.bundle.manifest
    return json_response(
        ModelConfig(
            name=model.name,
            max_batch_size=app_state_of(request).settings.max_request_rows,
            input=[_config_input(tensor, manifest) for tensor in listed_inputs(manifest)],
            output=[
                ConfigOutput(name=tensor.name, data_type=_data_type(tensor), dims=tensor.shape[1:])
                for tensor in listed_outputs(manifest, model.device)
            ],
        )
    )


def _config_input(tensor: TensorMetadata, manifest: Manifest) -> ConfigInput:
    """Whatever the bundle holds may be left out."""
    required = tensor.name in manifest.features.inputs() and manifest.features.cached is None
    dims = tensor.shape[1:]
    return ConfigInput(name=tensor.name, data_type=_data_type(tensor), dims=dims, optional=not required)


def _data_type(tensor: TensorMetadata) -> str:
    return "TYPE_STRING" if tensor.datatype == "BYTES" else f"TYPE_{tensor.datatype}"


def lease(request: Request) -> Lease:
    """`with lease(request) as model`: the model that a path names, in service until the block ends.

    Raises:
        UnknownModelError: no such model is in service, or in another version.
        WarmingError, DrainingError: it is not there yet, or no more.
    """
    return app_state_of(request).models.lease(request.path_params["model"], _version(request))


def present_model(request: Request) -> ServedModel:
    """The same, for a glance that awaits nothing."""
    return app_state_of(request).models.current(request.path_params["model"], _version(request))


def _version(request: Request) -> int | None:
    """The version in a path, which is as text only what a number is written as."""
    version = request.path_params.get("version")
    if version is None:
        return None
    if not (version.isascii() and version.isdigit() and len(version) <= 18 and version == str(int(version))):
        raise UnknownModelError(f"no model has a version {shown(version)}")
    return int(version)


async def get_statistics(request: Request) -> Response:
    """Gives the statistics of every model in service."""
    models = app_state_of(request).models.in_service
    return json_response(Statistics(model_stats=[_statistics_of(model) for model in models]))


async def get_model_statistics(request: Request) -> Response:
    """Gives the statistics of one model."""
    return json_response(Statistics(model_stats=[_statistics_of(present_model(request))]))


def _statistics_of(model: ServedModel) -> ModelStatistics:
    totals = model.metrics.totals()
    return ModelStatistics(
        name=model.name,
        version=str(model.version),
        inference_count=totals.num_rows,
        execution_count=totals.num_executions,
        inference_stats=InferenceStatistics(
            success=_duration(totals, STAGES),
            queue=_duration(totals, ["queue"]),
            compute_input=_duration(totals, ["parse", "position_lookup"]),
            compute_infer=_duration(totals, ["inference"]),
            compute_output=_duration(totals, ["serialize"]),
        ),
    )


def _duration(totals: ModelTotals, stages: Iterable[Stage]) -> Duration:
    """The time in some stages; every answered request went through each."""
    found = [totals.stages[stage] for stage in stages]
    return Duration(count=found[0].count, ns=round(1e9 * sum(histogram.total for histogram in found)))


# First: `/v2/models/stats` is not a model of that name.
add_route(router, "/v2/models/stats", get_statistics, Statistics)
add_model_routes(router, "", get_model, ModelMetadata)
add_model_routes(router, "/ready", get_model_ready, ModelReadiness)
add_model_routes(router, "/config", get_model_config, ModelConfig)
add_model_routes(router, "/stats", get_model_statistics, Statistics)
