"""The batcher: an engine that raises, hangs, or gives up for good."""

import asyncio
import threading

import numpy as np
import pytest
from structlog.testing import capture_logs

from rbm_service.errors import BackendError, UnhealthyError
from rbm_service.inference.batch import INLINE_ROWS
from rbm_service.inference.batcher import FAILURES_UNTIL_PROBE
from tests.batchers import rows_of


@pytest.mark.parametrize("num_rows", [1, INLINE_ROWS + 1])
def test_a_poisonous_batch_fails_its_own_callers_and_the_next_request_works(
    make_batcher, engine, bundle, num_rows
):
    async def scenario():
        batcher = make_batcher(engine.run)
        poison = rows_of(bundle, 0, num_rows)
        poison.overrides["features"] = np.full_like(poison.overrides["features"], np.nan)
        with capture_logs() as logs, pytest.raises(BackendError):
            await batcher.submit(poison)
        assert logs[0]["event"] == "batch failed"
        assert "not finite" in str(logs[0]["exc_info"])
        return await batcher.submit(rows_of(bundle, 0, num_rows))

    assert asyncio.run(scenario()).outputs["probabilities"].shape == (num_rows, 3)


def test_a_failing_batch_leaves_the_batch_behind_it_alone(make_batcher, engine, bundle):
    def run(model_inputs, outputs):
        if len(model_inputs["features"]) == 40:
            raise RuntimeError("no")
        return engine.run(model_inputs, outputs)

    async def scenario():
        batcher = make_batcher(run, max_batch_rows=40)
        tasks = [batcher.submit(rows_of(bundle, 0, size)) for size in (40, 30, 9)]
        with capture_logs():
            return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, third = asyncio.run(scenario())
    assert isinstance(first, BackendError)
    assert second.outputs["probabilities"].shape == (30, 3)
    assert third.outputs["probabilities"].shape == (9, 3)


def test_a_batch_behind_a_run_that_does_not_end_is_never_computed(make_batcher, gate, bundle):
    async def scenario():
        batcher = make_batcher(gate, timeout_seconds=0.5)
        asking = [batcher.submit(rows_of(bundle, 0, 64)) for _ in range(2)]
        with capture_logs() as logs:
            errors = await asyncio.gather(*asking, return_exceptions=True)
        assert logs[0]["num_requests"] == 2
        gate.opened.set()
        while batcher._engine_thread.num_tasks:
            await asyncio.sleep(0.005)
        return errors

    assert [type(error) for error in asyncio.run(scenario())] == [BackendError, UnhealthyError]
    assert gate.sizes == [64]


def test_a_run_that_does_not_end_takes_the_engine_down(make_batcher, gate, bundle, metrics):
    async def scenario():
        batcher = make_batcher(gate, timeout_seconds=0.5)
        running = batcher.submit(rows_of(bundle, 0, 40))
        await asyncio.sleep(0)
        waiting = batcher.submit(rows_of(bundle, 0, 2))
        with capture_logs() as logs:
            errors = await asyncio.gather(running, waiting, return_exceptions=True)
        assert batcher.is_down
        assert (logs[0]["event"], logs[0]["reason"]) == ("engine down", "a run does not end")
        assert metrics.registry.get_sample_value("rbm_queue_rows", {"model_name": "tiny"}) == 0
        gate.opened.set()
        while batcher._engine_thread.num_tasks:  # what comes too late is not heard
            await asyncio.sleep(0.005)
        with pytest.raises(UnhealthyError):
            await batcher.submit(rows_of(bundle, 0, 2))
        return errors

    assert [type(error) for error in asyncio.run(scenario())] == [BackendError, UnhealthyError]


@pytest.mark.parametrize("num_rows", [1, INLINE_ROWS + 1])
def test_an_engine_that_fails_its_probe_too_is_down(make_batcher, bundle, num_rows):
    def fail(*args):
        raise RuntimeError("the context is lost")

    async def scenario():
        batcher = make_batcher(fail, probe=fail)
        with capture_logs() as logs:
            for _ in range(FAILURES_UNTIL_PROBE):
                assert not batcher.is_down
                with pytest.raises(BackendError):
                    await batcher.submit(rows_of(bundle, 0, num_rows))
            with pytest.raises(UnhealthyError):
                await batcher.submit(rows_of(bundle, 0, num_rows))
        assert batcher.is_down
        return logs[-1]

    assert "the context is lost" in asyncio.run(scenario())["reason"]


def test_failures_that_are_the_fault_of_what_was_sent_take_nothing_down(make_batcher, engine, bundle):
    probes = []

    async def scenario():
        batcher = make_batcher(engine.run, probe=lambda: probes.append(engine.self_test(bundle)))
        poison = rows_of(bundle, 0, 1)
        poison.overrides["features"] = np.full_like(poison.overrides["features"], np.nan)
        with capture_logs():
            for _ in range(2 * FAILURES_UNTIL_PROBE):
                with pytest.raises(BackendError):
                    await batcher.submit(poison)
        return await batcher.submit(rows_of(bundle, 0, 1))

    assert asyncio.run(scenario()).outputs["probabilities"].shape == (1, 3)
    assert len(probes) == 2


def test_a_batch_for_which_the_system_gives_no_thread_fails_and_the_next_one_is_computed(
    make_batcher, engine, bundle, monkeypatch
):
    def start(thread):
        raise RuntimeError("can't start new thread")

    async def scenario():
        batcher = make_batcher(engine.run, probe=lambda: engine.self_test(bundle))
        for _ in range(2 * FAILURES_UNTIL_PROBE):
            with monkeypatch.context() as patch, capture_logs():
                patch.setattr(threading.Thread, "start", start)
                with pytest.raises(BackendError):
                    await batcher.submit(rows_of(bundle, 0, INLINE_ROWS + 1))
        assert not batcher.is_down
        return await batcher.submit(rows_of(bundle, 0, INLINE_ROWS + 1))

    assert asyncio.run(scenario()).outputs["probabilities"].shape == (INLINE_ROWS + 1, 3)


def test_a_success_between_failures_starts_no_probe(make_batcher, engine, bundle):
    probes = []

    async def scenario():
        batcher = make_batcher(engine.run, probe=lambda: probes.append("asked"))
        poison = rows_of(bundle, 0, 1)
        poison.overrides["features"] = np.full_like(poison.overrides["features"], np.nan)
        for _ in range(FAILURES_UNTIL_PROBE):
            with capture_logs(), pytest.raises(BackendError):
                await batcher.submit(poison)
            await batcher.submit(rows_of(bundle, 0, 1))

    asyncio.run(scenario())
    assert probes == []
