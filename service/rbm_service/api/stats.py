"""`GET /stats`: counters since the start in JSON, of which a page makes rates by asking twice.

They are the numbers of `/metrics`, added up over the labels that a page does not tell apart.
"""

from collections import Counter
from operator import add
from time import monotonic
from typing import Final

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from pydantic import Field

from rbm_service.api import classify
from rbm_service.api.dependencies import app_state_of
from rbm_service.api.schemas import Body, ShadowRef
from rbm_service.api.v2 import infer
from rbm_service.observability.metrics import REQUEST_SECONDS, Metrics, Stage
from rbm_service.serving.model import ServedModel
from rbm_service.serving.shadow import Shadow

INFERENCE_ROUTES: Final = tuple(
    route.path for route in (*classify.router.routes, *infer.router.routes) if isinstance(route, APIRoute)
)

router = APIRouter(tags=["operations"])


class LatencyStats(Body):
    """From request to answer, in buckets."""

    bounds_seconds: list[float] = Field(description="Upper bounds of all buckets but the last, rising")
    counts: list[int] = Field(description="Requests in each bucket: one more than there are bounds")
    sum_seconds: float = Field(description="Seconds of all of them together")


class ShadowStats(ShadowRef):
    """A shadow, and what it has counted."""

    scored: int = Field(description="Sampled requests that it computed")
    dropped: int = Field(description="Those for which it had no time")
    failed: int = Field(description="Those that it could not compute")
    agreeing_rows: int = Field(description="Rows that it gives the class that the version in service gives")
    disagreeing_rows: int = Field(description="Rows that it gives another")


class ModelStats(Body):
    """What the version of a model in service has counted."""

    name: str = Field(description="Name of the model")
    version: int = Field(description="Its version in service; another one begins with counters of its own")
    requests: int = Field(description="Requests computed")
    rows: int = Field(description="Rows computed")
    queued_rows: int = Field(description="Rows that wait now")
    queue_capacity_rows: int = Field(description="Rows that may wait")
    stage_seconds: dict[Stage, float] = Field(description="Seconds that its requests spent in each stage")
    shadow: ShadowStats | None = Field(description="The version that is compared with it, if any")


class Stats(Body):
    """Counters since the service started."""

    uptime_seconds: float = Field(description="Seconds since then")
    draining: bool = Field(description="Whether the service is about to end")
    requests: dict[str, int] = Field(description="Requests to routes that classify, by status of the answer")
    latency: LatencyStats = Field(description="The time that these took")
    models: list[ModelStats] = Field(description="The models in service, the default first")


@router.get("/stats")
async def get_stats(request: Request) -> Stats:
    """Gives the most important of the metrics as JSON: counters since the start, and what waits now."""
    app_state = app_state_of(request)
    metrics, models = app_state.metrics, app_state.models
    return Stats(
        uptime_seconds=monotonic() - metrics.started,
        draining=models.draining,
        requests=_requests_by_status(metrics),
        latency=_latency(metrics),
        models=[_model_stats(metrics, model, models.shadows.get(model.name)) for model in models.in_service],
    )


def _requests_by_status(metrics: Metrics) -> dict[str, int]:
    by_status = Counter[str]()
    for (route, _, status), number in metrics.rbm_http_requests_total.items():
        if route in INFERENCE_ROUTES:
            by_status[status] += number.value
    return dict(by_status)


def _latency(metrics: Metrics) -> LatencyStats:
    total = REQUEST_SECONDS()
    for route in INFERENCE_ROUTES:
        duration = metrics.rbm_http_request_duration_seconds.labels(route)
        total.counts = [*map(add, total.counts, duration.counts)]
        total.total += duration.total
    return LatencyStats(bounds_seconds=[*total.edges], counts=total.counts, sum_seconds=total.total)


def _model_stats(metrics: Metrics, model: ServedModel, shadow: Shadow | None) -> ModelStats:
    name, counted = model.name, model.metrics
    return ModelStats(
        name=name,
        version=model.version,
        requests=counted.requests.value,
        rows=counted.rows.value,
        queued_rows=metrics.rbm_queue_rows.count_of(name),
        queue_capacity_rows=metrics.rbm_queue_capacity_rows.count_of(name),
        stage_seconds={stage: duration.total for stage, duration in counted.stages.items()},
        shadow=_shadow_stats(shadow, model.version) if shadow else None,
    )


def _shadow_stats(shadow: Shadow, version: int) -> ShadowStats:
    requests, rows = shadow.metrics.counts(version)
    return ShadowStats(
        version=shadow.spec.version,
        share=shadow.spec.share,
        scored=requests["scored"],
        dropped=requests["dropped"],
        failed=requests["failed"],
        agreeing_rows=rows["agree"],
        disagreeing_rows=rows["differ"],
    )
