import asyncio
import time

from rbm_service.inference.deadline_timer import DeadlineTimer


def test_it_goes_off_once_at_the_earliest_time_and_can_be_set_anew():
    async def scenario():
        began, went_off = time.perf_counter(), []
        deadline_timer = DeadlineTimer()
        for seconds in (60, 0.04, 0.02, 50):
            deadline_timer.set(began + seconds, lambda: went_off.append(time.perf_counter() - began))
        await asyncio.sleep(0.1)
        assert len(went_off) == 1
        assert went_off[0] >= 0.02
        deadline_timer.set(began, lambda: went_off.append(0))  # has passed
        await asyncio.sleep(0.02)
        return len(went_off)

    assert asyncio.run(scenario()) == 2


def test_cancelled_it_stays_silent_until_it_is_set_again():
    async def scenario():
        went_off = []
        deadline_timer = DeadlineTimer()
        deadline_timer.set(time.perf_counter() + 0.01, lambda: went_off.append(True))
        deadline_timer.cancel()
        await asyncio.sleep(0.03)
        assert went_off == []
        # No earlier than the one that was cancelled.
        deadline_timer.set(time.perf_counter() + 0.01, lambda: went_off.append(True))
        await asyncio.sleep(0.03)
        return went_off

    assert asyncio.run(scenario()) == [True]
