"""`GET /v2/…`: what serves and whether it is ready, what a model takes and gives, what it has done."""

import re
from collections.abc import Mapping
from typing import Final

from fastapi import APIRouter, Request

from rbm_service.api.dependencies import app_state_of
from rbm_service.api.v2 import responses
from rbm_service.api.v2.tensors import listed_inputs, listed_outputs
from rbm_service.errors import NotFoundError, UnknownModelError, shortened
from rbm_service.observability.metrics import STAGES, Stage
from rbm_service.serving.model import ServedModel

EXTENSIONS: Final = ("binary_tensor_data", "classification", "model_configuration", "statistics")

MODEL: Final = "/v2/models/{model}"
VERSION: Final = f"{MODEL}/versions/{{version}}"
ABSENT: Final[Mapping[str, str]] = {
    "/v2/systemsharedmemory/{rest:path}": "shared memory",
    "/v2/cudasharedmemory/{rest:path}": "CUDA shared memory",
    "/v2/trace/setting": "trace settings",
    f"{MODEL}/trace/setting": "trace settings",
    "/v2/logging": "log settings",
}

router = APIRouter(tags=["open inference"])


def version_of(request: Request) -> int | None:
    """The version in a path, which is as text only what a number is written as.

    Raises:
        UnknownModelError: it is anything else.
    """
    version = request.path_params.get("version")
    if version is not None and not re.fullmatch("0|[1-9][0-9]{0,17}", version):
        raise UnknownModelError(f"no model has a version {shortened(version)}")
    return None if version is None else int(version)


@router.get("/v2")
async def get_server(request: Request) -> responses.ServerMetadata:
    """Describes the server: its name, its version, its extensions of the protocol."""
    takes_commands = app_state_of(request).settings.model_control == "explicit"
    extensions = (*EXTENSIONS, "model_repository") if takes_commands else EXTENSIONS
    return responses.ServerMetadata(
        name="routing-by-memory", version=request.app.version, extensions=extensions
    )


@router.get("/v2/health/live")
async def get_server_live() -> responses.Liveness:
    """Answers as long as the event loop runs."""
    return responses.Liveness()


@router.get("/v2/health/ready")
async def get_server_ready(request: Request) -> responses.Readiness:
    """Answers 200 while every model is in service, else 503."""
    app_state_of(request).models.check_ready()
    return responses.Readiness()


@router.get("/v2/models/stats")  # before the routes of a model: it is not a model of that name
async def get_statistics(request: Request) -> responses.Statistics:
    """Gives the statistics of every model in service."""
    models = app_state_of(request).models.in_service
    return responses.Statistics(model_stats=[_statistics_of(model) for model in models])


@router.get(f"{VERSION}/stats", name="get_model_version_statistics")
@router.get(f"{MODEL}/stats")
async def get_model_statistics(request: Request) -> responses.Statistics:
    """Gives the statistics of one model."""
    return responses.Statistics(model_stats=[_statistics_of(_model_of(request))])


@router.get(VERSION, name="get_model_version")
@router.get(MODEL)
async def get_model(request: Request) -> responses.ModelMetadata:
    """Describes a model: its version in service, its inputs, its outputs."""
    model = _model_of(request)
    manifest = model.bundle.manifest
    return responses.ModelMetadata(
        name=model.name,
        versions=(str(model.version),),
        inputs=listed_inputs(manifest),
        outputs=listed_outputs(manifest, model.device),
    )


@router.get(f"{VERSION}/ready", name="get_model_version_ready")
@router.get(f"{MODEL}/ready")
async def get_model_ready(request: Request) -> responses.ModelReadiness:
    """Answers 200 while this very model is in service, else 404 or 503."""
    model = _model_of(request)
    app_state_of(request).models.check_ready(model.name)
    return responses.ModelReadiness(name=model.name)


@router.get(f"{VERSION}/config", name="get_model_version_config")
@router.get(f"{MODEL}/config")
async def get_model_config(request: Request) -> responses.ModelConfig:
    """Describes a model as Triton would configure it."""
    model = _model_of(request)
    manifest = model.bundle.manifest
    # Whatever the bundle holds may be left out, and features where records say the same.
    needs_features = manifest.features.cached is None and manifest.records is None
    required = manifest.features.inputs() if needs_features else ()
    return responses.ModelConfig(
        name=model.name,
        max_batch_size=app_state_of(request).settings.max_request_rows,
        input=[
            responses.ConfigInput(**_config(tensor).model_dump(), optional=tensor.name not in required)
            for tensor in listed_inputs(manifest)
        ],
        output=[_config(tensor) for tensor in listed_outputs(manifest, model.device)],
    )


def _model_of(request: Request) -> ServedModel:
    """The model that a path names, for a glance that awaits nothing."""
    return app_state_of(request).models.current(request.path_params["model"], version_of(request))


def _config(tensor: responses.TensorMetadata) -> responses.ConfigOutput:
    data_type = "TYPE_STRING" if tensor.datatype == "BYTES" else f"TYPE_{tensor.datatype}"
    return responses.ConfigOutput(name=tensor.name, data_type=data_type, dims=tensor.shape[1:])


def _statistics_of(model: ServedModel) -> responses.ModelStatistics:
    metrics = model.metrics

    def duration(*stages: Stage) -> responses.Duration:
        """The time in some stages; every answered request went through each."""
        seconds = sum(metrics.stages[stage].total for stage in stages)
        return responses.Duration(count=sum(metrics.stages[stages[0]].counts), ns=round(1e9 * seconds))

    return responses.ModelStatistics(
        name=model.name,
        version=str(model.version),
        inference_count=metrics.rows.value,
        execution_count=metrics.executions.value,
        inference_stats=responses.InferenceStatistics(
            success=duration(*STAGES),
            queue=duration("queue"),
            compute_input=duration("parse", "position_lookup"),
            compute_infer=duration("inference"),
            compute_output=duration("serialize"),
        ),
    )


async def absent(request: Request) -> None:
    """Always 404: the protocol has this, and the service does not."""
    raise NotFoundError(f"this service does not offer {ABSENT[request.scope['route'].path]}")


for path in ABSENT:
    router.add_api_route(path, absent, methods=["GET", "POST"], include_in_schema=False)
