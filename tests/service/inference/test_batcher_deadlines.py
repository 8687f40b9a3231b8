"""The batcher: how long a request may wait, and what becomes of it when its deadline has passed."""

import asyncio
import math
import time

import pytest

from rbm_service.errors import DeadlineExceededError
from rbm_service.inference.batch import INLINE_ROWS
from tests.batchers import occupy, rows_of, table_of


def test_a_deadline_that_cannot_be_met_behind_what_waits_is_refused_at_once(make_batcher, gate, bundle):
    async def scenario():
        batcher = make_batcher(gate, table=table_of(100.0))
        running = await occupy(batcher, gate, bundle)
        waiting = batcher.submit(rows_of(bundle, 0, 9))
        await asyncio.sleep(0)
        with pytest.raises(DeadlineExceededError):  # 10 rows take 1000 s
            batcher.submit(rows_of(bundle, 0, 1), deadline=time.perf_counter() + 900)
        patient = batcher.submit(rows_of(bundle, 0, 1), deadline=time.perf_counter() + 2000)
        gate.opened.set()
        await asyncio.gather(running, waiting, patient)

    asyncio.run(scenario())
    assert gate.sizes == [INLINE_ROWS + 1, 10]


def test_where_nothing_waits_any_deadline_is_tried_however_slow_the_engine_was(make_batcher, engine, bundle):
    async def scenario():
        batcher = make_batcher(engine.run, table=table_of(1000.0))
        return await batcher.submit(rows_of(bundle, 0, 1), deadline=time.perf_counter() + 60)

    assert asyncio.run(scenario()).outputs["probabilities"].shape == (1, 3)


def test_a_deadline_that_passes_in_the_queue_costs_no_forward_pass_and_frees_the_queue(
    make_batcher, gate, bundle, metrics
):
    async def scenario():
        batcher = make_batcher(gate)
        running = await occupy(batcher, gate, bundle)
        late = batcher.submit(rows_of(bundle, 0, 5), deadline=time.perf_counter() + 0.02)
        patient = batcher.submit(rows_of(bundle, 0, 2))
        with pytest.raises(DeadlineExceededError):
            await late
        assert metrics.registry.get_sample_value("rbm_queue_rows", {"model_name": "tiny"}) == 2
        gate.opened.set()
        await asyncio.gather(running, patient)

    asyncio.run(scenario())
    assert gate.sizes == [INLINE_ROWS + 1, 2]


def test_a_deadline_that_has_passed_costs_no_forward_pass(make_batcher, engine, bundle):
    sizes = []

    def run(model_inputs, outputs):
        sizes.append(len(model_inputs["features"]))
        return engine.run(model_inputs, outputs)

    async def scenario():
        with pytest.raises(DeadlineExceededError):
            await make_batcher(run).submit(rows_of(bundle, 0, 5), deadline=time.perf_counter())

    asyncio.run(scenario())
    assert sizes == []


def test_a_deadline_that_passes_in_a_batch_leaves_the_rest_of_the_batch_alone(make_batcher, gate, bundle):
    async def scenario():
        batcher = make_batcher(gate)
        tasks = [
            batcher.submit(rows_of(bundle, 0, 30), deadline=deadline)
            for deadline in (math.inf, time.perf_counter() + 1)  # long enough to be in the batch for sure
        ]
        await asyncio.to_thread(gate.entered.wait, 10)
        with pytest.raises(DeadlineExceededError):
            await tasks[1]
        gate.opened.set()
        return await tasks[0]

    assert asyncio.run(scenario()).outputs["probabilities"].shape == (30, 3)
    assert gate.sizes == [60]


def test_every_deadline_is_kept_in_whatever_order_they_come(make_batcher, gate, bundle):
    async def scenario():
        batcher = make_batcher(gate)
        running = await occupy(batcher, gate, bundle)
        now = time.perf_counter()
        waiting = [
            batcher.submit(rows_of(bundle, 0, 1), deadline=now + seconds) for seconds in (0.06, 0.02, 0.1)
        ]
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        gate.opened.set()
        await running
        return errors

    assert [type(error) for error in asyncio.run(scenario())] == [DeadlineExceededError] * 3
