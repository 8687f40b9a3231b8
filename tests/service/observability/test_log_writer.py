import errno
import os
import threading

import pytest

from rbm_service.observability.logging import MAX_WAITING, LogWriter, num_dropped


class Stderr:
    """Takes bytes, no more than so many at a time, after whatever error there is."""

    def __init__(self):
        self.written = b""
        self.errors = []
        self.at_a_time = None
        self.opened = threading.Event()
        self.opened.set()
        self.entered = threading.Event()

    def write(self, text):
        self.entered.set()
        self.opened.wait()
        if self.errors and (error := self.errors.pop(0)):
            raise error
        taken = bytes(text[: self.at_a_time])
        self.written += taken
        return len(taken)


@pytest.fixture
def stderr():
    return Stderr()


@pytest.fixture
def writer(stderr):
    yield (writer := LogWriter(stderr.write, lambda fields: f"fields {fields}"))
    stderr.opened.set()
    writer.drain(60)


@pytest.fixture
def num_lost():
    before = num_dropped.value
    return lambda: num_dropped.value - before


def test_texts_and_fields_are_written_in_order(writer, stderr):
    print("one", 2, file=writer)
    writer.put({"status": 200})
    writer.write("three\n")
    writer.drain(60)
    assert stderr.written == b"one 2\nfields {'status': 200}\nthree\n"


def test_a_write_that_takes_a_part_is_gone_on_with(writer, stderr, num_lost):
    stderr.at_a_time = 3
    writer.write("one line\n" * 3)
    writer.drain(60)
    assert stderr.written == b"one line\n" * 3
    assert num_lost() == 0


def test_a_reader_that_takes_nothing_at_the_moment_is_waited_for(writer, stderr, num_lost):
    stderr.errors = [BlockingIOError(), BlockingIOError()]
    writer.write("a line\n")
    writer.drain(60)
    assert stderr.written == b"a line\n"
    assert num_lost() == 0


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF])
def test_lines_that_cannot_be_written_are_counted_and_the_next_ones_are_tried(
    writer, stderr, num_lost, number
):
    stderr.errors = [OSError(number, os.strerror(number))] * 2
    for item in ("lost\n", {"lost": "too"}):
        writer.put(item)
        writer.drain(60)
    writer.write("kept\n")
    writer.drain(60)
    assert stderr.written == b"kept\n"
    assert num_lost() == 2


def test_a_line_that_was_cut_off_is_ended_before_the_next(writer, stderr, num_lost):
    stderr.at_a_time, stderr.errors = 8, [None, OSError(errno.ENOSPC, "full")]
    writer.write("whole\nhalf of it\nnothing\n")
    writer.drain(60)
    stderr.at_a_time = None
    writer.write("kept\n")
    writer.drain(60)
    assert stderr.written == b"whole\nha\nkept\n"
    assert num_lost() == 2


def test_a_line_that_cannot_be_made_does_not_end_the_writing(stderr, num_lost):
    def fail(fields):
        raise ValueError("no such line")

    writer = LogWriter(stderr.write, fail)
    writer.put({"status": 200})
    writer.drain(60)
    writer.write("kept \udcff\n")
    writer.drain(60)
    assert stderr.written == b"kept \\udcff\n"
    assert num_lost() == 1


def test_while_nobody_reads_lines_wait_up_to_a_number_and_the_rest_is_counted(writer, stderr, num_lost):
    stderr.opened.clear()
    writer.write("first\n")
    assert stderr.entered.wait(60)  # with the first line in hand
    for _ in range(MAX_WAITING + 5):
        writer.put({"status": 200})
    writer.write("two\nlines\n")
    assert num_lost() == 7
    writer.drain(0.01)  # returns though nobody reads
    stderr.opened.set()
    writer.drain(60)
    assert stderr.written.count(b"\n") == MAX_WAITING + 1


def test_where_no_thread_can_be_had_the_next_line_tries_again(writer, stderr, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        writer.write("one\n")
        writer.drain(60)  # nobody would end the wait
    writer.write("two\n")
    writer.drain(60)
    assert stderr.written == b"one\ntwo\n"


def refuse(thread):
    raise RuntimeError("can't start new thread")
