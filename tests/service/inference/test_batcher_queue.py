"""The batcher: who gets a place in its queue, and who leaves it."""

import asyncio
import math
import threading

import pytest

from rbm_service.errors import DrainingError, OverloadedError
from rbm_service.inference.batch import INLINE_ROWS, Job
from rbm_service.inference.preprocessing import RequestRows
from rbm_service.inference.queue import LONG_ROWS, MAX_PASSED_ROWS, RequestQueue
from tests.batchers import answer_of, occupy, rows_of, table_of


def test_a_full_queue_refuses_and_says_when_to_come_back(make_batcher, gate, bundle, metrics):
    async def scenario():
        batcher = make_batcher(gate, max_queued_rows=40)
        running = await occupy(batcher, gate, bundle)
        waiting = batcher.submit(rows_of(bundle, 0, 39))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError) as refusal:
            await batcher.submit(rows_of(bundle, 0, 2))
        assert int(refusal.value.headers["Retry-After"]) >= 1
        fits = batcher.submit(rows_of(bundle, 0, 1))
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
        waiting = [asyncio.create_task(answer_of(batcher, rows_of(bundle, 0, 20))) for _ in range(3)]
        await asyncio.sleep(0)
        assert gauge("rbm_estimated_wait_seconds") == 20
        gate.opened.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert gauge("rbm_estimated_wait_seconds") == 0
        return answers[2]

    refusal = asyncio.run(scenario())
    assert isinstance(refusal, OverloadedError)
    assert refusal.headers == {"Retry-After": "20"}


def test_where_a_run_may_wait_for_a_device_even_a_small_request_leaves_the_loop(make_batcher, engine, bundle):
    names = []

    def run(model_inputs, outputs):
        names.append(threading.current_thread().name)
        return engine.run(model_inputs, outputs)

    asyncio.run(answer_of(make_batcher(run, runs_inline=False), rows_of(bundle, 0, 1)))
    assert names[0].startswith("rbm-engine")


def test_whoever_leaves_makes_room_at_once(make_batcher, gate, bundle, metrics):
    async def scenario():
        batcher = make_batcher(gate, max_queued_rows=40)
        running = await occupy(batcher, gate, bundle)
        leaving = [batcher.submit(rows_of(bundle, 0, 8)) for _ in range(5)]
        for answering in leaving:
            batcher.give_up(answering, ConnectionError)
        assert [type(error) for error in await asyncio.gather(*leaving, return_exceptions=True)] == (
            [ConnectionError] * 5
        )
        async with asyncio.timeout(30):
            while metrics.registry.get_sample_value("rbm_queue_rows", {"model_name": "tiny"}):
                await asyncio.sleep(0)  # the engine is still busy
        waiting = batcher.submit(rows_of(bundle, 0, 40))
        await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.gather(running, waiting)

    asyncio.run(scenario())
    assert gate.sizes == [INLINE_ROWS + 1, 40]


def test_a_caller_who_left_is_skipped_before_running(make_batcher, gate, bundle):
    async def scenario():
        batcher = make_batcher(gate)
        running = await occupy(batcher, gate, bundle)
        leaving = batcher.submit(rows_of(bundle, 0, 5))
        staying = batcher.submit(rows_of(bundle, 0, 2))
        leaving.cancel()
        gate.opened.set()
        await asyncio.gather(running, staying)
        with pytest.raises(asyncio.CancelledError):
            await leaving

    asyncio.run(scenario())
    assert gate.sizes == [INLINE_ROWS + 1, 2]


def test_whoever_has_an_answer_gives_nothing_up(make_batcher, engine, bundle):
    async def scenario():
        batcher = make_batcher(engine.run)
        answering = batcher.submit(rows_of(bundle, 0, 2))
        await answering
        batcher.give_up(answering, ConnectionError)
        return await answering

    assert asyncio.run(scenario()).outputs["probabilities"].shape == (2, 3)


def test_a_caller_who_leaves_while_it_runs_harms_nobody(make_batcher, gate, bundle):
    async def scenario():
        batcher = make_batcher(gate)
        running = await occupy(batcher, gate, bundle)
        running.cancel()
        gate.opened.set()
        return await batcher.submit(rows_of(bundle, 0, 2))

    assert asyncio.run(scenario()).outputs["probabilities"].shape == (2, 3)


def test_a_batch_behind_the_one_that_runs_takes_up_room_in_the_queue(make_batcher, gate, bundle):
    async def scenario():
        batcher = make_batcher(gate, max_queued_rows=100)
        running = await occupy(batcher, gate, bundle)
        behind = batcher.submit(rows_of(bundle, 0, 64))
        with pytest.raises(OverloadedError):
            batcher.submit(rows_of(bundle, 0, 37))
        waiting = batcher.submit(rows_of(bundle, 0, 36))
        batcher.give_up(behind, ConnectionError)
        await asyncio.sleep(0.02)  # for the timer
        more = batcher.submit(rows_of(bundle, 0, 20))
        with pytest.raises(ConnectionError):
            await behind
        gate.opened.set()
        await asyncio.gather(running, waiting, more)
        batcher.check_room(100)

    asyncio.run(scenario())
    assert gate.sizes == [INLINE_ROWS + 1, 36 + 20]


def test_whoever_leaves_behind_the_batch_that_runs_costs_no_forward_pass(make_batcher, gate, bundle):
    async def scenario():
        batcher = make_batcher(gate)
        running = await occupy(batcher, gate, bundle)
        behind = [batcher.submit(rows_of(bundle, 0, size)) for size in (60, 4)]
        behind[0].cancel()
        await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.gather(running, behind[1])

    asyncio.run(scenario())
    assert gate.sizes == [INLINE_ROWS + 1, 4]


def test_closing_refuses_what_has_no_answer_takes_nothing_more_and_waits_for_nothing(
    make_batcher, gate, bundle
):
    async def scenario():
        batcher = make_batcher(gate)
        running = await occupy(batcher, gate, bundle)
        waiting = batcher.submit(rows_of(bundle, 0, 2))
        await asyncio.sleep(0)
        batcher.close()  # while the gate is shut
        with pytest.raises(DrainingError):
            batcher.submit(rows_of(bundle, 0, 2))
        for refused in (running, waiting):
            with pytest.raises(DrainingError):
                await refused
        gate.opened.set()

    asyncio.run(scenario())


def test_closing_at_rest_leaves_no_thread(make_batcher, engine, bundle):
    async def scenario():
        batcher = make_batcher(engine.run)
        await batcher.submit(rows_of(bundle, 0, INLINE_ROWS + 1))
        batcher.close()

    asyncio.run(scenario())
    assert not any(thread.name.startswith("rbm-engine") for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("sizes", "order"),
    [
        ([LONG_ROWS, 1], [1, LONG_ROWS]),
        ([LONG_ROWS, LONG_ROWS + 1, 2, 1], [2, 1, LONG_ROWS, LONG_ROWS + 1]),
        ([LONG_ROWS, MAX_PASSED_ROWS + 1], [LONG_ROWS, MAX_PASSED_ROWS + 1]),
        ([LONG_ROWS, MAX_PASSED_ROWS, 1], [MAX_PASSED_ROWS, LONG_ROWS, 1]),
        ([LONG_ROWS, MAX_PASSED_ROWS + 1, 1], [LONG_ROWS, MAX_PASSED_ROWS + 1, 1]),
        ([LONG_ROWS, LONG_ROWS], [LONG_ROWS, LONG_ROWS]),
    ],
)
def test_short_requests_go_before_long_ones_until_these_have_let_enough_rows_pass(sizes, order):
    async def scenario():
        queue, loop = RequestQueue(), asyncio.get_running_loop()
        for size in sizes:
            rows = RequestRows([0] * size, {}, 0, ["cached"] * size)
            queue.push(Job(rows, False, 0.0, math.inf, loop.create_future()))
        return [job.rows.num_rows for job in queue.jobs]

    assert asyncio.run(scenario()) == order


def test_a_short_request_waits_for_the_long_one_that_runs_and_for_no_other(make_batcher, gate, bundle):
    async def scenario():
        limits = {"max_batch_rows": LONG_ROWS, "max_queued_rows": 3 * LONG_ROWS}
        batcher = make_batcher(gate, **limits)
        long = [batcher.submit(rows_of(bundle, 0, LONG_ROWS)) for _ in range(3)]
        short = batcher.submit(rows_of(bundle, 0, 1))
        gate.opened.set()
        await short
        done = [each.done() for each in long]
        await asyncio.gather(*long)
        return done

    assert asyncio.run(scenario()) == [True, False, False]
