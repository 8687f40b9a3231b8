import asyncio
import time

from rbm_service.alarm import Alarm


def test_it_goes_off_once_at_the_earliest_time_and_can_be_set_anew():
    async def scenario():
        began, went_off = time.perf_counter(), []
        alarm = Alarm()
        for seconds in (60, 0.04, 0.02, 50):
            alarm.set(began + seconds, lambda: went_off.append(time.perf_counter() - began))
        await asyncio.sleep(0.1)
        assert len(went_off) == 1
        assert went_off[0] >= 0.02
        alarm.set(began, lambda: went_off.append(0))  # has passed
        await asyncio.sleep(0.02)
        return len(went_off)

    assert asyncio.run(scenario()) == 2


def test_cancelled_it_stays_silent_until_it_is_set_again():
    async def scenario():
        went_off = []
        alarm = Alarm()
        alarm.set(time.perf_counter() + 0.01, lambda: went_off.append(True))
        alarm.cancel()
        await asyncio.sleep(0.03)
        assert went_off == []
        # No earlier than the one that was cancelled.
        alarm.set(time.perf_counter() + 0.01, lambda: went_off.append(True))
        await asyncio.sleep(0.03)
        return went_off

    assert asyncio.run(scenario()) == [True]
