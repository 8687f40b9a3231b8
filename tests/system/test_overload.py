"""More arrives than can be computed: what does not fit is told when to come back, all else is answered."""

import asyncio
import time
from dataclasses import replace

from rbm_service.app import create_app
from rbm_service.settings import Settings
from tests.batchers import batcher_behind
from tests.bundles import repository_of
from tests.classifying import asking

NUM_ARRIVALS, ROWS, MAX_BATCH_ROWS, MAX_QUEUED_ROWS = 300, 4, 8, 32


def test_beyond_capacity_every_refusal_is_429_and_the_queue_stays_within_its_bound(tmp_path):
    repository_of(tmp_path)
    app = create_app(Settings(models_dir=tmp_path, device="cpu", request_timeout_seconds=60))
    value = app.app_state.metrics.registry.get_sample_value
    seen = []

    async def arrive(client):
        """Open arrivals: nobody waits for the answer to another."""
        arrivals = []
        for _ in range(NUM_ARRIVALS):
            arrivals.append(asyncio.create_task(client.post("/classify", json={"node_ids": [100] * ROWS})))
            await asyncio.sleep(0.001)
            seen.append(value("rbm_queue_rows", {"model_name": "tiny"}))
        return await asyncio.gather(*arrivals)

    async def scenario():
        async with asking(app) as client:
            make_slow(app)
            answers = await arrive(client)
            return answers, await client.post("/classify", json={"node_ids": [100]})

    answers, later = asyncio.run(scenario())
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 0 < len(refused) < NUM_ARRIVALS
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(429, "overloaded")}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert max(seen) == MAX_QUEUED_ROWS  # it was full, and never more than that
    assert value("rbm_inference_failures_total", {"reason": "rejected"}) == len(refused)
    labels = {"model_name": "tiny", "model_version": "1"}
    assert value("rbm_inference_requests_total", labels) == NUM_ARRIVALS - len(refused) + 1
    lookups = value("rbm_position_lookups_total", {"model_name": "tiny", "result": "cached"})
    assert lookups == (NUM_ARRIVALS - len(refused)) * ROWS + 1  # none for those who are refused anyway
    assert later.status_code == 200
    assert value("rbm_queue_rows", {"model_name": "tiny"}) == 0
    assert value("rbm_queue_requests", {"model_name": "tiny"}) == 0


def make_slow(app):
    """Put an engine in service that takes a tenth of a second for a batch."""
    models = app.app_state.models
    model = models.current()

    def run(model_inputs, outputs):
        time.sleep(0.1)
        return model.engine.run(model_inputs, outputs)

    limits = {"max_batch_rows": MAX_BATCH_ROWS, "max_queued_rows": MAX_QUEUED_ROWS}
    models.swap(replace(model, batcher=batcher_behind(model, run, runs_inline=False, **limits)))
