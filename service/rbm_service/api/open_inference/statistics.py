"""`GET /v2/models/…/stats`: the service's own metrics of a model, as the protocol tells them.

What is not measured for each model is left out: failures, and times by size of a batch.
"""

from collections.abc import Iterable, Sequence

from fastapi import Request, Response

from rbm_service.api.open_inference.lookup import present_model
from rbm_service.api.open_inference.routes import add_model_routes, add_route, json_response, new_router
from rbm_service.api.open_inference.schemas import (
    Duration,
    InferenceStatistics,
    ModelStatistics,
    Statistics,
)
from rbm_service.api.parts import parts_of
from rbm_service.metrics import STAGES, Stage
from rbm_service.model_metrics import ModelTotals, StageTotal
from rbm_service.slot import ServedModel

router = new_router()


async def statistics(request: Request) -> Response:
    """Of every model in service."""
    return _answer(parts_of(request).models.in_service)


async def model_statistics(request: Request) -> Response:
    """Of this model."""
    return _answer([present_model(request)])


def _answer(models: Sequence[ServedModel]) -> Response:
    return json_response(Statistics(model_stats=[_statistics_of(model) for model in models]))


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
    found: list[StageTotal] = [totals.stages[stage] for stage in stages]
    return Duration(count=found[0].count, ns=round(1e9 * sum(total.seconds for total in found)))


add_route(router, "/v2/models/stats", statistics, Statistics)
add_model_routes(router, "/stats", model_statistics, Statistics)
