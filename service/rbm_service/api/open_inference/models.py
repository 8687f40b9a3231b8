"""`GET /v2/models/…`: what a model takes and gives, whether it is ready, how it is configured."""

from fastapi import Request, Response

from rbm_bundle import Manifest
from rbm_service.api.open_inference.lookup import present_model
from rbm_service.api.open_inference.routes import add_model_routes, json_response, new_router
from rbm_service.api.open_inference.schemas import (
    ConfigInput,
    ConfigOutput,
    ModelConfig,
    ModelMetadata,
    ModelReadiness,
    TensorMetadata,
)
from rbm_service.api.open_inference.tensors import TensorInfo, listed_inputs, listed_outputs
from rbm_service.api.parts import parts_of

router = new_router()


async def model_metadata(request: Request) -> Response:
    """Its version in service, its inputs and its outputs."""
    model = present_model(request)
    manifest = model.bundle.manifest
    return json_response(
        ModelMetadata(
            name=model.name,
            versions=(str(model.version),),
            inputs=[_metadata(info) for info in listed_inputs(manifest)],
            outputs=[_metadata(info) for info in listed_outputs(manifest, model.device)],
        )
    )


async def model_ready(request: Request) -> Response:
    """200 while this very model is in service, else 404 or 503."""
    model = present_model(request)
    parts_of(request).models.slot_of(model.name).check_ready()
    return json_response(ModelReadiness(name=model.name))


async def model_config(request: Request) -> Response:
    """The same as Triton would configure it."""
    model = present_model(request)
    manifest = model.bundle.manifest
    return json_response(
        ModelConfig(
            name=model.name,
            max_batch_size=parts_of(request).settings.max_request_rows,
            input=[_config_input(info, manifest) for info in listed_inputs(manifest)],
            output=[
                ConfigOutput(name=info.name, data_type=_data_type(info), dims=info.row_shape)
                for info in listed_outputs(manifest, model.device)
            ],
        )
    )


def _metadata(info: TensorInfo) -> TensorMetadata:
    return TensorMetadata(name=info.name, datatype=info.datatype, shape=info.shape)


def _config_input(info: TensorInfo, manifest: Manifest) -> ConfigInput:
    """Whatever the bundle holds may be left out."""
    required = info.name in manifest.features.inputs() and manifest.features.cached is None
    return ConfigInput(name=info.name, data_type=_data_type(info), dims=info.row_shape, optional=not required)


def _data_type(info: TensorInfo) -> str:
    return "TYPE_STRING" if info.datatype == "BYTES" else f"TYPE_{info.datatype}"


add_model_routes(router, "", model_metadata, ModelMetadata)
add_model_routes(router, "/ready", model_ready, ModelReadiness)
add_model_routes(router, "/config", model_config, ModelConfig)
