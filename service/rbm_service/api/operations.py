"""Routes for those who run the service: is it alive, is it ready, what does it serve, how is it doing."""

from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from rbm_service.api.dependencies import app_state_of
from rbm_service.api.openapi import problem_responses
from rbm_service.api.schemas import Health, Info, Limits, ModelRef, ShadowRef
from rbm_service.serving.model import ServedModel

router = APIRouter(tags=["operations"])
metrics_router = APIRouter(tags=["operations"])


@router.get("/livez")
async def livez() -> Health:
    """Answers as long as the event loop turns."""
    return Health(status="alive")


@router.get("/readyz", responses=problem_responses(503))
async def readyz(request: Request) -> Health:
    """200 while every model is in service, else 503; `draining` once the service was told to stop."""
    app_state_of(request).models.check_ready()
    return Health(status="ready")


@router.get("/info", responses=problem_responses(404, 503))
async def info(request: Request, model: str | None = None) -> Info:
    """A model in service, the default unless another is named: what it takes, how well it did in training."""
    app_state = app_state_of(request)
    slot = app_state.models.slot_of(model)
    served = slot.current()
    manifest, settings = served.bundle.manifest, app_state.settings
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
        limits=Limits(
            max_batch_rows=settings.max_batch_rows,
            max_queued_rows=settings.max_queued_rows,
            max_request_rows=settings.max_request_rows,
            max_body_bytes=settings.max_body_bytes,
            request_timeout_seconds=settings.request_timeout_seconds,
        ),
    )


def _ref(model: ServedModel) -> ModelRef:
    return ModelRef(name=model.name, version=model.version)


METRICS_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"description": "Prometheus text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@metrics_router.get("/metrics", response_class=Response, responses=METRICS_TEXT)
async def metrics(request: Request) -> Response:
    """Every metric, in the text format of Prometheus."""
    registry = app_state_of(request).metrics.registry
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
