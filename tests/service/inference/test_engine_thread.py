import asyncio
import threading

import pytest

from rbm_service.inference.engine_thread import EngineThread


def never():
    raise AssertionError("it was not overdue")


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


def test_work_is_done_in_a_thread_and_its_outcome_told_on_the_loop():
    async def scenario():
        worker, outcomes = EngineThread(60), []
        worker.start(
            lambda _: threading.current_thread().name, lambda done: outcomes.append(done.result()), never
        )
        assert worker.num_tasks == 1
        await until(lambda: outcomes)
        assert worker.num_tasks == 0
        assert worker._timer.cancelled()
        worker.close()
        return outcomes

    (name,) = asyncio.run(scenario())
    assert name.startswith("rbm-engine")


def test_work_that_raises_has_an_outcome_too():
    async def scenario():
        worker, errors = EngineThread(60), []
        worker.start(lambda _: 1 / 0, lambda done: errors.append(done.error), never)
        await until(lambda: errors)
        worker.close()
        return errors

    assert [type(error) for error in asyncio.run(scenario())] == [ZeroDivisionError]


def test_work_that_takes_too_long_is_told_once_and_its_outcome_all_the_same():
    async def scenario():
        worker, told, opened = EngineThread(0.02), [], threading.Event()
        worker.start(
            lambda _: opened.wait(30), lambda done: told.append(done.result()), lambda: told.append("late")
        )
        await until(lambda: told)
        opened.set()
        await until(lambda: not worker.num_tasks)
        worker.close()
        return told

    assert asyncio.run(scenario()) == ["late", True]


@pytest.mark.parametrize("is_busy", [False, True])
def test_closing_waits_for_nothing_and_nothing_is_overdue_after_it(is_busy):
    told = []

    async def scenario():
        worker, opened = EngineThread(0.02), threading.Event()
        if is_busy:
            worker.start(lambda _: opened.wait(30), lambda done: None, lambda: told.append("late"))
        worker.close()
        await asyncio.sleep(0.1)
        opened.set()

    asyncio.run(scenario())
    assert told == []


def test_what_is_behind_begins_before_anyone_is_told_and_has_a_time_limit_of_its_own():
    async def scenario():
        worker, told, opened = EngineThread(0.1), [], threading.Event()
        began, goes_on = threading.Event(), threading.Event()

        def second(about_to_run):
            began.set()
            assert goes_on.wait(30)
            about_to_run()
            return opened.wait(30)

        def first(_):
            assert behind.wait(30)

        behind = threading.Event()
        worker.start(first, lambda done: told.append("first"), never)
        worker.start(second, lambda done: told.append("second"), lambda: told.append("late"))
        assert worker.num_tasks == 2
        behind.set()
        assert await asyncio.to_thread(began.wait, 30)
        assert told == []
        goes_on.set()
        await until(lambda: worker.num_tasks == 1)
        assert told == ["first"]
        await until(lambda: len(told) == 2)
        opened.set()
        await until(lambda: not worker.num_tasks)
        worker.close()
        return told

    assert asyncio.run(scenario()) == ["first", "late", "second"]
