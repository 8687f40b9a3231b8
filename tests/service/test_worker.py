import asyncio
import threading

import pytest

from rbm_service.worker import Worker


def never():
    raise AssertionError("it was not overdue")


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


def test_work_is_done_in_a_thread_and_its_outcome_told_on_the_loop():
    async def scenario():
        worker, outcomes = Worker(60), []
        worker.start(
            lambda: threading.current_thread().name, lambda done: outcomes.append(done.result()), never
        )
        assert worker.is_busy
        await until(lambda: outcomes)
        assert not worker.is_busy
        assert worker._overdue.cancelled()
        worker.close()
        return outcomes

    (name,) = asyncio.run(scenario())
    assert name.startswith("rbm-engine")


def test_work_that_raises_has_an_outcome_too():
    async def scenario():
        worker, errors = Worker(60), []
        worker.start(lambda: 1 / 0, lambda done: errors.append(done.error), never)
        await until(lambda: errors)
        worker.close()
        return errors

    assert [type(error) for error in asyncio.run(scenario())] == [ZeroDivisionError]


def test_work_that_takes_too_long_is_told_once_and_its_outcome_all_the_same():
    async def scenario():
        worker, told, opened = Worker(0.02), [], threading.Event()
        worker.start(
            lambda: opened.wait(30), lambda done: told.append(done.result()), lambda: told.append("late")
        )
        await until(lambda: told)
        opened.set()
        await until(lambda: not worker.is_busy)
        worker.close()
        return told

    assert asyncio.run(scenario()) == ["late", True]


@pytest.mark.parametrize("is_busy", [False, True])
def test_closing_waits_for_nothing_and_nothing_is_overdue_after_it(is_busy):
    told = []

    async def scenario():
        worker, opened = Worker(0.02), threading.Event()
        if is_busy:
            worker.start(lambda: opened.wait(30), lambda done: None, lambda: told.append("late"))
        worker.close()
        await asyncio.sleep(0.1)
        opened.set()

    asyncio.run(scenario())
    assert told == []
