"""Routes for those who run the service: whether it is alive and ready, what it serves, its metrics."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from rbm_service.api.dependencies import app_state_of
from rbm_service.api.openapi import problem_responses
from rbm_service.api.schemas import Health, Info, Limits, ModelRef, ShadowRef
from rbm_service.serving.model import ServedModel

MODEL_PARAMETER: Final = {
    "name": "model",
    "in": "query",
    "description": "Name of a model in service; when left out, the default",
    "schema": {"type": "string"},
    "example": "tiny",
}
METRICS_TEXT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Prometheus text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
}

router = APIRouter(tags=["operations"])
metrics_router = APIRouter(tags=["operations"])


@router.get("/livez")
async def get_livez() -> Health:
    """Answers as long as the event loop runs."""
    return Health(status="alive")


@router.get("/readyz", responses=problem_responses(503))
async def get_readyz(request: Request) -> Health:
    """Answers 200 while every model is in service, else 503; `draining` once the service was told to stop."""
    app_state_of(request).models.check_ready()
    return Health(status="ready")


@router.get("/info", responses=problem_responses(404, 503), openapi_extra={"parameters": [MODEL_PARAMETER]})
async def get_info(request: Request) -> Info:
    """Describes a model in service: what it takes, how accurate it was in training, what it runs on."""
    app_state = app_state_of(request)
    slot = app_state.models.slot_of(request.query_params.get("model"))
    served = slot.current()
    manifest = served.bundle.manifest
    return Info(
        model=_ref(served),
        models=[_ref(other) for other in app_state.models.in_service],
        shadow=ShadowRef(version=slot.shadow.version, share=slot.shadow.share) if slot.shadow else None,
        bundle_id=manifest.bundle_id,
        created_at=manifest.created_at,
        labels=manifest.labels,
        features=manifest.features,
        nodes=manifest.nodes,
        architecture=manifest.architecture,
        metrics=manifest.metrics,
        device=served.device,
        provider=served.engine.provider,
        onnxruntime_version=served.engine.runtime_version,
        limits=Limits.model_validate(app_state.settings, from_attributes=True),
    )


def _ref(model: ServedModel) -> ModelRef:
    return ModelRef(name=model.name, version=model.version)


@metrics_router.get("/metrics", response_class=Response, responses=METRICS_TEXT)
async def get_metrics(request: Request) -> Response:
    """Gives every metric in Prometheus' text format."""
    registry = app_state_of(request).metrics.registry
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
