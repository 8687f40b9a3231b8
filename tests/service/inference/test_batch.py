import asyncio
from collections import deque
from dataclasses import replace

import numpy as np
import pytest

from rbm_service.errors import DeadlineExceededError
from rbm_service.inference.batch import BatchSlice, Job, most_probable, spans_of, take_batch
from rbm_service.runtime.tensors import stack


def queued(*sizes):
    loop = asyncio.new_event_loop()
    jobs = deque(Job({}, size, False, 0.0, 10.0 * size, loop.create_future()) for size in sizes)
    loop.close()
    return jobs


def test_a_batch_is_as_many_requests_as_fit_in_order():
    waiting = queued(3, 4, 2, 1)
    assert [job.num_rows for job in take_batch(waiting, 8, now=0.0)] == [3, 4]
    assert [job.num_rows for job in take_batch(waiting, 8, now=0.0)] == [2, 1]
    assert take_batch(waiting, 8, now=0.0) == []


def with_width(job, S):
    return replace(job, model_inputs={"feature_ids": np.zeros((job.num_rows, S), np.int64)})


def test_one_long_row_shares_a_batch_with_no_more_rows_than_fit_at_its_width():
    widths = [10, 10, 100, 10, 10]
    waiting = deque(map(with_width, queued(3, 1, 1, 1, 3), widths))
    batches = [take_batch(waiting, 8, 0.0, row_limit=lambda width: 300 // width) for _ in range(2)]
    assert [[job.num_rows for job in batch] for batch in batches] == [[3, 1], [1, 1]]
    assert [job.num_rows for job in waiting] == [3]


@pytest.mark.parametrize(
    ("rows", "S", "small"), [(32, 0, True), (33, 0, False), (4, 1024, True), (5, 1024, False)]
)
def test_long_rows_do_not_run_where_everyone_else_waits(rows, S, small):
    job = queued(rows)[0]
    assert (with_width(job, S) if S else job).is_small == small


def test_a_request_larger_than_a_batch_is_a_batch_of_its_own():
    waiting = queued(20, 1)
    assert [job.num_rows for job in take_batch(waiting, 8, now=0.0)] == [20]
    assert len(waiting) == 1


def test_requests_of_callers_who_left_are_not_taken():
    waiting = queued(3, 4, 2)
    waiting[0].future.cancel()
    waiting[2].future.cancel()
    assert [job.num_rows for job in take_batch(waiting, 8, now=0.0)] == [4]
    assert not waiting


def test_splitting_undoes_stacking():
    parts = [{"x": np.arange(3)}, {"x": np.arange(1)}, {"x": np.arange(2)}]
    again = [BatchSlice(stack(parts), span) for span in spans_of([3, 1, 2])]
    assert [part["x"].tolist() for part in again] == [[0, 1, 2], [0], [0, 1]]
    assert [list(part) for part in again] == [["x"]] * 3


def test_tensors_of_different_width_are_padded_to_the_widest():
    parts = [
        {"ids": np.array([[1, 2]]), "x": np.ones((1, 2))},
        {"ids": np.array([[3], [4]]), "x": np.ones((2, 2))},
    ]
    stacked = stack(parts, {"ids": 9})
    assert stacked["ids"].tolist() == [[1, 2], [3, 9], [4, 9]]
    assert stacked["ids"].dtype == np.int64
    assert stacked["x"].shape == (3, 2)


def test_the_most_probable_class_is_the_first_of_several():
    class_index, confidence = most_probable(np.array([[0.25, 0.5, 0.25], [0.5, 0, 0.5]], np.float32))
    assert class_index.tolist() == [1, 0]
    assert confidence.tolist() == [0.5, 0.5]


def test_a_request_past_its_deadline_is_not_taken_and_its_caller_is_told():
    waiting = queued(3, 4, 2)
    late = [waiting[0], waiting[2]]
    assert [job.num_rows for job in take_batch(waiting, 8, now=30.0)] == [4]
    for job in late:
        assert isinstance(job.future.exception(), DeadlineExceededError)
