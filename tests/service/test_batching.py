import asyncio
import math
import threading
import time

import numpy as np
import pytest
from structlog.testing import capture_logs

from rbm_service.batches import INLINE_ROWS
from rbm_service.batching import FAILURES_UNTIL_PROBE, Batcher
from rbm_service.capacity import BatchTable
from rbm_service.errors import (
    BackendError,
    DeadlineExceededError,
    DrainingError,
    OverloadedError,
    UnhealthyError,
)


class Gate:
    """Runs like the engine it is given, but waits inside until it is opened; keeps the sizes it was given."""

    def __init__(self, run):
        self.run = run
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.sizes = []

    def __call__(self, feeds, outputs):
        self.sizes.append(len(feeds["features"]))
        self.entered.set()
        assert self.opened.wait(10)
        return self.run(feeds, outputs)


@pytest.fixture
def gate(engine):
    return Gate(engine.run)


@pytest.fixture
def make_batcher(model_metrics):
    batchers = []

    def make(run, *, max_batch_rows=64, max_queued_rows=256, **others):
        limits = {"max_batch_rows": max_batch_rows, "max_queued_rows": max_queued_rows}
        batchers.append(Batcher(run, model_metrics, **limits, **others))
        return batchers[-1]

    yield make
    for batcher in batchers:
        batcher.close()


def rows_of(bundle, start, num_rows):
    rows = np.arange(start, start + num_rows) % bundle.nodes.num_nodes
    return {"features": bundle.nodes.features_of(rows), "positions": bundle.nodes.positions_of(rows)}


def table_of(seconds_per_row):
    return BatchTable({2**power: 2**power * seconds_per_row for power in range(7)})


async def occupy(batcher, gate, bundle):
    """A request too big to run inline, and now inside the engine thread."""
    running = asyncio.create_task(batcher.submit(rows_of(bundle, 0, INLINE_ROWS + 1), INLINE_ROWS + 1))
    await asyncio.to_thread(gate.entered.wait, 10)
    return running


def test_a_small_request_alone_runs_on_the_loop_and_a_large_one_in_the_engine_thread(
    make_batcher, engine, bundle
):
    names = []

    def run(feeds, outputs):
        names.append(threading.current_thread().name)
        return engine.run(feeds, outputs)

    async def scenario():
        batcher = make_batcher(run)
        await batcher.submit(rows_of(bundle, 0, 1), 1)
        await batcher.submit(rows_of(bundle, 0, INLINE_ROWS + 1), INLINE_ROWS + 1)

    asyncio.run(scenario())
    assert names[0] == threading.main_thread().name
    assert names[1].startswith("rbm-engine")


def test_merged_requests_get_the_same_answers_as_alone(make_batcher, gate, engine, bundle, metrics):
    sizes = [1, 7, 2, 30]

    async def scenario():
        batcher = make_batcher(gate)
        running = await occupy(batcher, gate, bundle)
        waiting = [
            asyncio.create_task(batcher.submit(rows_of(bundle, size, size), size, explain=size == 7))
            for size in sizes
        ]
        await asyncio.sleep(0)
        gate.opened.set()
        await running
        return await asyncio.gather(*waiting)

    answers = asyncio.run(scenario())
    assert gate.sizes == [INLINE_ROWS + 1, sum(sizes)]
    for size, answer in zip(sizes, answers, strict=True):
        alone = engine.run(rows_of(bundle, size, size), ("probabilities", "experts"))
        assert (answer.outputs["experts"] == alone["experts"]).all()
        assert answer.outputs["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-6)
        assert answer.queue_seconds > 0
        assert answer.inference_seconds > 0
    assert answers[1].outputs["weights"].shape == (7, 2, 2)
    labels = {"model_name": "tiny", "model_version": "1"}
    assert metrics.registry.get_sample_value("rbm_inference_executions_total", labels) == 2
    assert metrics.registry.get_sample_value("rbm_inference_requests_total", labels) == 5
    assert metrics.registry.get_sample_value("rbm_inference_rows_total", labels) == INLINE_ROWS + 1 + sum(
        sizes
    )


def test_a_batch_never_exceeds_its_limit_and_a_larger_request_runs_in_several_passes(
    make_batcher, engine, bundle
):
    sizes = []

    def run(feeds, outputs):
        sizes.append(len(feeds["features"]))
        return engine.run(feeds, outputs)

    answer = asyncio.run(make_batcher(run, max_batch_rows=8).submit(rows_of(bundle, 0, 20), 20))
    assert sizes == [8, 8, 4]
    alone = engine.run(rows_of(bundle, 0, 20), ("probabilities", "experts"))
    assert (answer.outputs["experts"] == alone["experts"]).all()
    assert answer.outputs["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-6)


@pytest.mark.parametrize("num_rows", [1, INLINE_ROWS + 1])
def test_a_poisonous_batch_fails_its_own_callers_and_the_next_request_works(
    make_batcher, engine, bundle, num_rows
):
    async def scenario():
        batcher = make_batcher(engine.run)
        poison = rows_of(bundle, 0, num_rows)
        poison["features"] = np.full_like(poison["features"], np.nan)
        with capture_logs() as logs, pytest.raises(BackendError):
            await batcher.submit(poison, num_rows)
        assert logs[0]["event"] == "batch failed"
        assert "not finite" in str(logs[0]["exc_info"])
        return await batcher.submit(rows_of(bundle, 0, num_rows), num_rows)

    assert asyncio.run(scenario()).outputs["probabilities"].shape == (num_rows, 3)


def test_a_failing_batch_leaves_the_batch_behind_it_alone(make_batcher, engine, bundle):
    def run(feeds, outputs):
        if len(feeds["features"]) == 40:
            raise RuntimeError("no")
        return engine.run(feeds, outputs)

    async def scenario():
        batcher = make_batcher(run, max_batch_rows=40)
        tasks = [asyncio.create_task(batcher.submit(rows_of(bundle, 0, size), size)) for size in (40, 30, 9)]
        with capture_logs():
            return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, third = asyncio.run(scenario())
    assert isinstance(first, BackendError)
    assert second.outputs["probabilities"].shape == (30, 3)
    assert third.outputs["probabilities"].shape == (9, 3)


def test_a_full_queue_refuses_and_says_when_to_come_back(make_batcher, gate, bundle, metrics):
    async def scenario():
        batcher = make_batcher(gate, max_queued_rows=40)
        running = await occupy(batcher, gate, bundle)
        waiting = asyncio.create_task(batcher.submit(rows_of(bundle, 0, 39), 39))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError) as refusal:
            await batcher.submit(rows_of(bundle, 0, 2), 2)
        assert int(refusal.value.headers["Retry-After"]) >= 1
        fits = asyncio.create_task(batcher.submit(rows_of(bundle, 0, 1), 1))
        await asyncio.sleep(0)
        assert metrics.registry.get_sample_value("rbm_queue_rows", {"model_name": "tiny"}) == 40
        assert metrics.registry.get_sample_value("rbm_queue_requests", {"model_name": "tiny"}) == 2
        gate.opened.set()
        await asyncio.gather(running, waiting, fits)
        assert metrics.registry.get_sample_value("rbm_queue_rows", {"model_name": "tiny"}) == 0

    asyncio.run(scenario())


def test_the_first_refusal_already_says_when_to_come_back_by_what_was_measured(
    make_batcher, gate, bundle, metrics
):
    def gauge(name):
        return metrics.registry.get_sample_value(name, {"model_name": "tiny"})

    async def scenario():
        batcher = make_batcher(gate, max_queued_rows=40, table=table_of(0.5))
        assert gauge("rbm_capacity_rows_per_second") == 2
        waiting = [asyncio.create_task(batcher.submit(rows_of(bundle, 0, 20), 20)) for _ in range(3)]
        await asyncio.sleep(0)
        assert gauge("rbm_estimated_wait_seconds") == 20
        gate.opened.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert gauge("rbm_estimated_wait_seconds") == 0
        return answers[2]

    refusal = asyncio.run(scenario())
    assert isinstance(refusal, OverloadedError)
    assert refusal.headers == {"Retry-After": "20"}


def test_the_capacity_follows_what_batches_really_take(make_batcher, engine, bundle, metrics):
    async def scenario():
        batcher = make_batcher(engine.run, table=table_of(1000.0))
        for _ in range(10):
            await batcher.submit(rows_of(bundle, 0, 64), 64)

    asyncio.run(scenario())
    labels = {"model_name": "tiny"}
    assert metrics.registry.get_sample_value("rbm_capacity_rows_per_second", labels) > 0.01


def test_a_deadline_that_cannot_be_met_behind_what_waits_is_refused_at_once(make_batcher, gate, bundle):
    async def scenario():
        batcher = make_batcher(gate, table=table_of(100.0))
        running = await occupy(batcher, gate, bundle)
        waiting = asyncio.create_task(batcher.submit(rows_of(bundle, 0, 9), 9))
        await asyncio.sleep(0)
        hasty = batcher.submit(rows_of(bundle, 0, 1), 1, deadline=time.perf_counter() + 900)
        with pytest.raises(DeadlineExceededError):  # 10 rows take 1000 s
            await asyncio.wait_for(hasty, timeout=30)
        patient = batcher.submit(rows_of(bundle, 0, 1), 1, deadline=time.perf_counter() + 2000)
        patient = asyncio.create_task(patient)
        await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.gather(running, waiting, patient)

    asyncio.run(scenario())
    assert gate.sizes == [INLINE_ROWS + 1, 10]


def test_where_nothing_waits_any_deadline_is_tried_however_slow_the_engine_was(make_batcher, engine, bundle):
    async def scenario():
        batcher = make_batcher(engine.run, table=table_of(1000.0))
        return await batcher.submit(rows_of(bundle, 0, 1), 1, deadline=time.perf_counter() + 60)

    assert asyncio.run(scenario()).outputs["probabilities"].shape == (1, 3)


def test_where_a_run_may_wait_for_a_device_even_a_small_request_leaves_the_loop(make_batcher, engine, bundle):
    names = []

    def run(feeds, outputs):
        names.append(threading.current_thread().name)
        return engine.run(feeds, outputs)

    asyncio.run(make_batcher(run, runs_inline=False).submit(rows_of(bundle, 0, 1), 1))
    assert names[0].startswith("rbm-engine")


def test_a_run_that_does_not_end_takes_the_engine_down(make_batcher, gate, bundle, metrics):
    async def scenario():
        batcher = make_batcher(gate, timeout_seconds=0.5)
        running = asyncio.create_task(batcher.submit(rows_of(bundle, 0, 40), 40))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(batcher.submit(rows_of(bundle, 0, 2), 2))
        with capture_logs() as logs:
            errors = await asyncio.gather(running, waiting, return_exceptions=True)
        assert batcher.is_down
        assert (logs[0]["event"], logs[0]["reason"]) == ("engine down", "a run does not end")
        assert metrics.registry.get_sample_value("rbm_queue_rows", {"model_name": "tiny"}) == 0
        gate.opened.set()
        while batcher._worker.is_busy:  # what comes too late is not heard
            await asyncio.sleep(0.005)
        with pytest.raises(UnhealthyError):
            await batcher.submit(rows_of(bundle, 0, 2), 2)
        return errors

    assert [type(error) for error in asyncio.run(scenario())] == [BackendError, UnhealthyError]


@pytest.mark.parametrize("num_rows", [1, INLINE_ROWS + 1])
def test_an_engine_that_also_fails_at_what_it_is_known_to_compute_is_down(make_batcher, bundle, num_rows):
    def fail(*args):
        raise RuntimeError("the context is lost")

    async def scenario():
        batcher = make_batcher(fail, probe=fail)
        with capture_logs() as logs:
            for _ in range(FAILURES_UNTIL_PROBE):
                assert not batcher.is_down
                with pytest.raises(BackendError):
                    await batcher.submit(rows_of(bundle, 0, num_rows), num_rows)
            with pytest.raises(UnhealthyError):
                await batcher.submit(rows_of(bundle, 0, num_rows), num_rows)
        assert batcher.is_down
        return logs[-1]

    assert "the context is lost" in asyncio.run(scenario())["reason"]


def test_failures_that_are_the_fault_of_what_was_sent_take_nothing_down(make_batcher, engine, bundle):
    probes = []

    async def scenario():
        batcher = make_batcher(engine.run, probe=lambda: probes.append(engine.self_test(bundle)))
        poison = rows_of(bundle, 0, 1)
        poison["features"] = np.full_like(poison["features"], np.nan)
        with capture_logs():
            for _ in range(2 * FAILURES_UNTIL_PROBE):
                with pytest.raises(BackendError):
                    await batcher.submit(poison, 1)
        return await batcher.submit(rows_of(bundle, 0, 1), 1)

    assert asyncio.run(scenario()).outputs["probabilities"].shape == (1, 3)
    assert len(probes) == 2


def test_a_success_between_failures_asks_for_no_proof(make_batcher, engine, bundle):
    probes = []

    async def scenario():
        batcher = make_batcher(engine.run, probe=lambda: probes.append("asked"))
        poison = rows_of(bundle, 0, 1)
        poison["features"] = np.full_like(poison["features"], np.nan)
        for _ in range(FAILURES_UNTIL_PROBE):
            with capture_logs(), pytest.raises(BackendError):
                await batcher.submit(poison, 1)
            await batcher.submit(rows_of(bundle, 0, 1), 1)

    asyncio.run(scenario())
    assert probes == []


def test_whoever_leaves_makes_room_at_once(make_batcher, gate, bundle, metrics):
    async def scenario():
        batcher = make_batcher(gate, max_queued_rows=40)
        running = await occupy(batcher, gate, bundle)
        leaving = [asyncio.create_task(batcher.submit(rows_of(bundle, 0, 8), 8)) for _ in range(5)]
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        await asyncio.wait(leaving)
        async with asyncio.timeout(30):
            while metrics.registry.get_sample_value("rbm_queue_rows", {"model_name": "tiny"}):
                await asyncio.sleep(0)  # the engine is still busy
        waiting = asyncio.create_task(batcher.submit(rows_of(bundle, 0, 40), 40))
        await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.gather(running, waiting)

    asyncio.run(scenario())
    assert gate.sizes == [INLINE_ROWS + 1, 40]


def test_a_caller_who_left_is_skipped_before_running(make_batcher, gate, bundle):
    async def scenario():
        batcher = make_batcher(gate)
        running = await occupy(batcher, gate, bundle)
        leaving = asyncio.create_task(batcher.submit(rows_of(bundle, 0, 5), 5))
        staying = asyncio.create_task(batcher.submit(rows_of(bundle, 0, 2), 2))
        await asyncio.sleep(0)
        leaving.cancel()
        gate.opened.set()
        await asyncio.gather(running, staying)
        with pytest.raises(asyncio.CancelledError):
            await leaving

    asyncio.run(scenario())
    assert gate.sizes == [INLINE_ROWS + 1, 2]


def test_a_caller_who_leaves_while_it_runs_harms_nobody(make_batcher, gate, bundle):
    async def scenario():
        batcher = make_batcher(gate)
        running = await occupy(batcher, gate, bundle)
        running.cancel()
        gate.opened.set()
        return await batcher.submit(rows_of(bundle, 0, 2), 2)

    assert asyncio.run(scenario()).outputs["probabilities"].shape == (2, 3)


def test_a_deadline_that_passes_in_the_queue_costs_no_forward_pass_and_frees_the_queue(
    make_batcher, gate, bundle, metrics
):
    async def scenario():
        batcher = make_batcher(gate)
        running = await occupy(batcher, gate, bundle)
        late = batcher.submit(rows_of(bundle, 0, 5), 5, deadline=time.perf_counter() + 0.02)
        patient = asyncio.create_task(batcher.submit(rows_of(bundle, 0, 2), 2))
        with pytest.raises(DeadlineExceededError):
            await late
        assert metrics.registry.get_sample_value("rbm_queue_rows", {"model_name": "tiny"}) == 2
        gate.opened.set()
        await asyncio.gather(running, patient)

    asyncio.run(scenario())
    assert gate.sizes == [INLINE_ROWS + 1, 2]


def test_a_deadline_that_has_passed_costs_no_forward_pass(make_batcher, engine, bundle):
    sizes = []

    def run(feeds, outputs):
        sizes.append(len(feeds["features"]))
        return engine.run(feeds, outputs)

    async def scenario():
        with pytest.raises(DeadlineExceededError):
            await make_batcher(run).submit(rows_of(bundle, 0, 5), 5, deadline=time.perf_counter())

    asyncio.run(scenario())
    assert sizes == []


def test_a_deadline_that_passes_in_a_batch_leaves_the_rest_of_the_batch_alone(make_batcher, gate, bundle):
    async def scenario():
        batcher = make_batcher(gate)
        tasks = [
            asyncio.create_task(batcher.submit(rows_of(bundle, 0, 30), 30, deadline=deadline))
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
            batcher.submit(rows_of(bundle, 0, 1), 1, deadline=now + seconds) for seconds in (0.06, 0.02, 0.1)
        ]
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        gate.opened.set()
        await running
        return errors

    assert [type(error) for error in asyncio.run(scenario())] == [DeadlineExceededError] * 3


def test_two_batchers_of_one_name_share_the_gauges(make_batcher, gate, engine, bundle, metrics):
    def queued_rows():
        return metrics.registry.get_sample_value("rbm_queue_rows", {"model_name": "tiny"})

    async def scenario():
        old, new = make_batcher(gate), make_batcher(engine.run)
        running = await occupy(old, gate, bundle)
        waiting = asyncio.create_task(old.submit(rows_of(bundle, 0, 5), 5))
        await asyncio.sleep(0)
        await new.submit(rows_of(bundle, 0, 1), 1)
        assert queued_rows() == 5
        gate.opened.set()
        await asyncio.gather(running, waiting)

    asyncio.run(scenario())
    assert queued_rows() == 0


def test_closing_refuses_what_has_no_answer_takes_nothing_more_and_waits_for_nothing(
    make_batcher, gate, bundle
):
    async def scenario():
        batcher = make_batcher(gate)
        running = await occupy(batcher, gate, bundle)
        waiting = asyncio.create_task(batcher.submit(rows_of(bundle, 0, 2), 2))
        await asyncio.sleep(0)
        batcher.close()  # while the gate is shut
        for refused in (running, waiting, batcher.submit(rows_of(bundle, 0, 2), 2)):
            with pytest.raises(DrainingError):
                await refused
        gate.opened.set()

    asyncio.run(scenario())


def test_closing_at_rest_leaves_no_thread(make_batcher, engine, bundle):
    async def scenario():
        batcher = make_batcher(engine.run)
        await batcher.submit(rows_of(bundle, 0, INLINE_ROWS + 1), INLINE_ROWS + 1)
        batcher.close()

    asyncio.run(scenario())
    assert not any(thread.name.startswith("rbm-engine") for thread in threading.enumerate())
