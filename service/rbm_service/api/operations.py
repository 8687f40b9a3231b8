"""Routes for those who run the service: whether it is alive and ready, what it serves, its metrics."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from rbm_service.api.dependencies import app_state_of
from rbm_service.api.inference import offload
from rbm_service.api.schemas import Health, Info, Limits, ModelRef, ShadowRef
from rbm_service.errors import NoModelCardError

router = APIRouter(tags=["operations"])
metrics_router = APIRouter(tags=["operations"])


@router.get("/livez")
async def get_livez() -> Health:
    """Answers as long as the event loop runs."""
    return Health(status="alive")


@router.get("/readyz")
async def get_readyz(request: Request) -> Health:
    """Answers 200 while every model is in service, else 503; `draining` once the service was told to stop."""
    app_state_of(request).models.check_ready()
    return Health(status="ready")


@router.get("/info")
async def get_info(request: Request) -> Info:
    """Describes a model in service: what it takes, how accurate it was in training, what it runs on."""
    app_state = app_state_of(request)
    served = app_state.models.current(request.query_params.get("model"))
    shadow = app_state.models.shadows.get(served.name)
    return Info(
        **served.bundle.manifest.model_dump(include=set(Info.model_fields)),  # as the bundle says it
        model=ModelRef(name=served.name, version=served.version),
        models=[ModelRef(name=each.name, version=each.version) for each in app_state.models.in_service],
        shadow=ShadowRef(version=shadow.spec.version, share=shadow.spec.share) if shadow else None,
        device=served.device,
        provider=served.engine.provider,
        onnxruntime_version=served.engine.runtime_version,
        limits=Limits.model_validate(app_state.settings, from_attributes=True),
    )


class MarkdownResponse(Response):
    """Text in Markdown."""

    media_type = "text/markdown"


@router.get("/model-card", response_class=MarkdownResponse, response_description="Markdown")
async def get_model_card(request: Request) -> MarkdownResponse:
    """Gives the model card: what the model was trained on, how well it does, what it is not for."""
    served = app_state_of(request).models.current(request.query_params.get("model"))
    card = await offload(served.bundle.model_card)
    if card is None:
        raise NoModelCardError(f"the bundle of {served.name} {served.version} has no model card")
    return MarkdownResponse(card)


@metrics_router.get(
    "/metrics", response_class=PlainTextResponse, response_description="Prometheus text format"
)
async def get_metrics(request: Request) -> PlainTextResponse:
    """Gives every metric in Prometheus' text format."""
    registry = app_state_of(request).metrics.registry
    return PlainTextResponse(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
