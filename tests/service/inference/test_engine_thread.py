import asyncio
import threading
import time

import pytest

from rbm_service.inference.engine_thread import EngineThread
from tests.gates import until


def never():
    raise AssertionError("it was not overdue")


def test_work_is_done_in_a_thread_and_its_outcome_told_on_the_loop():
    async def scenario():
        thread, outcomes = EngineThread(60, never), []
        thread.run(lambda _: threading.current_thread().name, lambda done: outcomes.append(done.result()))
        assert thread.num_tasks == 1
        await until(lambda: outcomes)
        assert thread.num_tasks == 0
        assert thread._timer.cancelled()
        thread.close()
        return outcomes

    (name,) = asyncio.run(scenario())
    assert name.startswith("rbm-engine")


def test_work_that_raises_has_an_outcome_too():
    async def scenario():
        thread, errors = EngineThread(60, never), []
        thread.run(lambda _: 1 / 0, lambda done: errors.append(done.exception()))
        await until(lambda: errors)
        thread.close()
        return errors

    assert [type(error) for error in asyncio.run(scenario())] == [ZeroDivisionError]


def test_work_that_takes_too_long_is_told_once_and_its_outcome_all_the_same():
    async def scenario():
        told, opened = [], threading.Event()
        thread = EngineThread(0.02, lambda: told.append("late"))
        thread.run(lambda _: opened.wait(30), lambda done: told.append(done.result()))
        await until(lambda: told)
        opened.set()
        await until(lambda: not thread.num_tasks)
        thread.close()
        return told

    assert asyncio.run(scenario()) == ["late", True]


def test_while_the_event_loop_stands_still_the_engine_is_not_to_blame():
    async def scenario():
        thread, told = EngineThread(0.2, never), []
        thread.run(lambda _: "done", lambda done: told.append(done.result()))
        time.sleep(0.5)  # the loop hears of nothing meanwhile
        await until(lambda: told)
        thread.close()

    asyncio.run(scenario())


def test_work_for_which_the_system_gives_no_thread_is_refused_and_the_next_tries_again(monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    async def scenario():
        thread, told = EngineThread(60, never), []
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                thread.run(lambda _: "done", told.append)
        assert thread.num_tasks == 0
        thread.run(lambda _: "done", lambda outcome: told.append(outcome.result()))
        await until(lambda: told == ["done"])
        thread.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("is_busy", [False, True])
def test_closing_waits_for_nothing_and_nothing_is_overdue_after_it(is_busy):
    async def scenario():
        thread, opened = EngineThread(0.02, never), threading.Event()
        if is_busy:
            thread.run(lambda _: opened.wait(30), lambda done: None)
        thread.close()
        await asyncio.sleep(0.1)
        opened.set()

    asyncio.run(scenario())


def test_the_next_work_begins_before_the_outcome_is_told_and_has_a_time_limit_of_its_own():
    async def scenario():
        told, opened = [], threading.Event()
        thread = EngineThread(0.2, lambda: told.append("late"))
        began, goes_on, behind = threading.Event(), threading.Event(), threading.Event()

        def first(_):
            assert behind.wait(30)

        def second(about_to_run):
            began.set()
            assert goes_on.wait(30)
            about_to_run()
            return opened.wait(30)

        thread.run(first, lambda done: told.append("first"))
        thread.run(second, lambda done: told.append("second"))
        assert thread.num_tasks == 2
        behind.set()
        assert await asyncio.to_thread(began.wait, 30)
        assert told == []
        goes_on.set()
        await until(lambda: thread.num_tasks == 1)
        assert told == ["first"]
        await until(lambda: len(told) == 2)
        opened.set()
        await until(lambda: not thread.num_tasks)
        thread.close()
        return told

    assert asyncio.run(scenario()) == ["first", "late", "second"]
