"""The queue: what runs next, and who leaves it before that."""

import asyncio

import pytest

from rbm_service.errors import DeadlineExceededError
from rbm_service.inference import queue as queue_module
from rbm_service.inference.batch import Job
from rbm_service.inference.preprocessing import RequestRows
from rbm_service.inference.queue import RequestQueue


def job_of(num_rows, width=0, deadline=100.0):
    rows = RequestRows([0] * num_rows, {}, width, ["cached"] * num_rows)
    return Job(rows, False, 0.0, deadline, asyncio.get_running_loop().create_future())


def sizes_of(batch):
    return [job.rows.num_rows for job in batch]


def in_loop(scenario):
    """Runs a test of jobs, which belong to a loop, with a queue of their own."""

    return lambda: asyncio.run(scenario(RequestQueue()))


@in_loop
async def test_a_batch_is_as_many_requests_as_fit_in_order(queue):
    for size in (3, 4, 2, 1):
        queue.push(job_of(size))
    assert sizes_of(queue.take(8, now=0.0)) == [3, 4]
    assert queue.num_rows == 3
    assert sizes_of(queue.take(8, now=0.0)) == [2, 1]
    assert queue.take(8, now=0.0) == []
    assert queue.num_rows == 0


def test_one_long_row_shares_a_batch_with_no_more_rows_than_fit_at_its_width(monkeypatch):
    monkeypatch.setattr(queue_module, "MAX_PADDED", 300)

    @in_loop
    async def scenario(queue):
        for size, width in ((3, 10), (1, 10), (1, 100), (1, 10), (3, 10)):
            queue.push(job_of(size, width))
        assert sizes_of(queue.take(8, now=0.0)) == [3, 1]
        assert sizes_of(queue.take(8, now=0.0)) == [1, 1]
        assert sizes_of(queue.jobs) == [3]

    scenario()


@in_loop
async def test_a_request_larger_than_a_batch_is_a_batch_of_its_own(queue):
    for size in (20, 1):
        queue.push(job_of(size))
    assert sizes_of(queue.take(8, now=0.0)) == [20]
    assert queue.num_rows == 1


@in_loop
async def test_requests_of_callers_who_left_are_not_taken(queue):
    for size in (3, 4, 2):
        queue.push(job_of(size))
    queue.jobs[0].future.cancel()
    queue.jobs[2].future.cancel()
    assert sizes_of(queue.take(8, now=0.0)) == [4]
    assert not queue.jobs


@in_loop
async def test_a_request_past_its_deadline_is_not_taken_and_its_caller_is_told(queue):
    jobs = [job_of(size, deadline=10.0 * size) for size in (3, 4, 2)]
    for job in jobs:
        queue.push(job)
    assert sizes_of(queue.take(8, now=30.0)) == [4]
    for job in (jobs[0], jobs[2]):
        assert isinstance(job.future.exception(), DeadlineExceededError)


@pytest.mark.parametrize("deadlines", [(3.0, 1.0, 2.0), (1.0, 1.0, 1.0)])
def test_one_timer_goes_off_at_the_earliest_deadline(deadlines):
    async def scenario():
        queue = RequestQueue()
        jobs = [job_of(1, deadline=deadline) for deadline in deadlines]  # all of them long past
        for job in jobs:
            queue.push(job)
        await asyncio.wait([job.future for job in jobs], timeout=30)
        assert [type(job.future.exception()) for job in jobs] == [DeadlineExceededError] * len(jobs)
        assert not queue.jobs

    asyncio.run(scenario())
