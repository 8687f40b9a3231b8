"""The batcher: what runs together, where, and what the gauges say of it."""

import asyncio
import threading
import time

import pytest

from rbm_service.inference.batch import INLINE_ROWS
from rbm_service.inference.batcher import SMALL_ROWS
from tests.batchers import inputs_of, occupy, rows_of, table_of


def test_a_small_request_alone_runs_on_the_loop_and_a_large_one_in_the_engine_thread(
    make_batcher, engine, bundle
):
    names = []

    def run(model_inputs, outputs):
        names.append(threading.current_thread().name)
        return engine.run(model_inputs, outputs)

    async def scenario():
        batcher = make_batcher(run)
        await batcher.submit(rows_of(bundle, 0, 1))
        await batcher.submit(rows_of(bundle, 0, INLINE_ROWS + 1))

    asyncio.run(scenario())
    assert names[0] == threading.main_thread().name
    assert names[1].startswith("rbm-engine")


def test_merged_requests_get_the_same_answers_as_alone(make_batcher, gate, engine, bundle, metrics):
    sizes = [1, 7, 2, 30]

    async def scenario():
        batcher = make_batcher(gate)
        running = await occupy(batcher, gate, bundle)
        waiting = [batcher.submit(rows_of(bundle, size, size), explain=size == 7) for size in sizes]
        await asyncio.sleep(0)
        gate.opened.set()
        await running
        return await asyncio.gather(*waiting)

    answers = asyncio.run(scenario())
    assert gate.sizes == [INLINE_ROWS + 1, sum(sizes)]
    labels = {"model_name": "tiny", "model_version": "1"}
    assert metrics.registry.get_sample_value("rbm_inference_executions_total", labels) == 2
    assert metrics.registry.get_sample_value("rbm_inference_requests_total", labels) == 5
    assert metrics.registry.get_sample_value("rbm_inference_rows_total", labels) == INLINE_ROWS + 1 + sum(
        sizes
    )
    for size, answer in zip(sizes, answers, strict=True):
        alone = engine.run(inputs_of(bundle, size, size), ("probabilities", "experts"))
        assert (answer.outputs["experts"] == alone["experts"]).all()
        assert answer.outputs["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-6)
        assert answer.queue_seconds > 0
        assert answer.batch.seconds > 0
    assert answers[1].outputs["weights"].shape == (7, 2, 2)


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([1, 1, 1], [3]),
        ([1, 0, 1], [1, 1]),
        ([SMALL_ROWS - 1, 1, 1], [SMALL_ROWS, 1]),
        ([SMALL_ROWS, 1], [SMALL_ROWS, 1]),
    ],
)
def test_a_small_batch_waits_for_as_long_as_every_turn_of_the_loop_brings_more(
    make_batcher, engine, bundle, sizes, batches
):
    computed = []

    def run(model_inputs, outputs):
        computed.append(len(model_inputs["features"]))
        return engine.run(model_inputs, outputs)

    async def scenario():
        batcher, asked = make_batcher(run), []
        for size in sizes:
            asked += [batcher.submit(rows_of(bundle, 0, size))] if size else []
            await asyncio.sleep(0)
        await asyncio.gather(*asked)

    asyncio.run(scenario())
    assert computed == batches


@pytest.mark.parametrize(("pause_seconds", "num_turns"), [(0.5, 2), (1.5, 0)])
def test_whoever_comes_long_after_a_lone_request_waits_for_nobody(
    make_batcher, engine, bundle, monkeypatch, pause_seconds, num_turns
):
    clock = count_turns = 0.0
    computed_at = []
    monkeypatch.setattr(time, "perf_counter", lambda: clock)

    def run(model_inputs, outputs):
        nonlocal clock
        clock += 1
        computed_at.append(count_turns)
        return engine.run(model_inputs, outputs)

    async def scenario():
        nonlocal clock, count_turns
        batcher = make_batcher(run)
        await batcher.submit(rows_of(bundle, 0, 1))
        clock += pause_seconds
        count_turns = 0
        asked = batcher.submit(rows_of(bundle, 0, 1))
        while not asked.done():
            count_turns += 1
            await asyncio.sleep(0)

    asyncio.run(scenario())
    assert computed_at[1] == num_turns


def test_a_full_batch_waits_in_the_engines_thread_and_any_other_for_the_rows_that_still_come(
    make_batcher, gate, bundle, metrics
):
    async def scenario():
        batcher = make_batcher(gate)
        running = await occupy(batcher, gate, bundle)
        waiting = []
        for size in (30, 4, 30, 30, 30, 9):
            waiting.append(batcher.submit(rows_of(bundle, 0, size)))
            await asyncio.sleep(0)
        # The second batch is taken, the third is full as well, but has to wait: one behind another is enough.
        value = metrics.registry.get_sample_value
        assert value("rbm_queue_rows", {"model_name": "tiny"}) == (30 + 4 + 30) + (30 + 30 + 9)
        assert value("rbm_queue_requests", {"model_name": "tiny"}) == 6
        gate.opened.set()
        await asyncio.gather(running, *waiting)

    asyncio.run(scenario())
    assert gate.sizes == [INLINE_ROWS + 1, 30 + 4 + 30, 30 + 30, 9]


def test_a_full_batch_begins_before_the_loop_comes_to_anyone_else(make_batcher, gate, bundle):
    async def scenario():
        batcher = make_batcher(gate)
        asking = batcher.submit(rows_of(bundle, 0, 64))
        assert gate.entered.wait(10)  # the loop does nothing meanwhile
        gate.opened.set()
        await asking

    asyncio.run(scenario())
    assert gate.sizes == [64]


def test_the_capacity_follows_what_batches_really_take(make_batcher, engine, bundle, metrics):
    async def scenario():
        batcher = make_batcher(engine.run, table=table_of(1000.0))
        for _ in range(10):
            await batcher.submit(rows_of(bundle, 0, 64))

    asyncio.run(scenario())
    labels = {"model_name": "tiny"}
    assert metrics.registry.get_sample_value("rbm_capacity_rows_per_second", labels) > 0.01


def test_two_batchers_of_one_name_share_the_gauges(make_batcher, gate, engine, bundle, metrics):
    def queued_rows():
        return metrics.registry.get_sample_value("rbm_queue_rows", {"model_name": "tiny"})

    async def scenario():
        old, new = make_batcher(gate), make_batcher(engine.run)
        running = await occupy(old, gate, bundle)
        waiting = old.submit(rows_of(bundle, 0, 5))
        await asyncio.sleep(0)
        await new.submit(rows_of(bundle, 0, 1))
        assert queued_rows() == 5
        gate.opened.set()
        await asyncio.gather(running, waiting)

    asyncio.run(scenario())
    assert queued_rows() == 0
