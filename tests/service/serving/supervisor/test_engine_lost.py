"""An engine that cannot be rebuilt ends the process."""

import asyncio
import threading

import pytest
from structlog.testing import capture_logs

from rbm_service.serving.supervisor import EngineLostError
from tests.gates import Gate
from tests.service.serving.supervisor.rebuilds import in_vain, until_lost


def test_when_no_try_succeeds_the_engine_is_lost(rebuild, fail, supervised):
    rebuild(in_vain)
    with (
        capture_logs() as lines,
        pytest.raises(EngineLostError, match="tiny 1: 3 tries to rebuild it failed"),
    ):
        asyncio.run(until_lost(fail, supervised))
    assert [line["event"] for line in lines].count("rebuild failed") == 3
    assert lines[-1]["event"] == "engine lost"


def test_a_reason_that_is_no_utf_8_is_told_all_the_same(rebuild, fail, supervised):
    def refuse(served, really):
        raise RuntimeError("caf\udce9.npy")

    rebuild(refuse)
    with capture_logs() as lines, pytest.raises(EngineLostError):
        asyncio.run(until_lost(fail, supervised))
    assert {line["reason"] for line in lines if line["event"] == "rebuild failed"} == {r"caf\udce9.npy"}


def test_a_rebuild_that_hangs_is_not_tried_again(rebuild, fail, monkeypatch, supervised):
    gate = Gate(in_vain)
    rebuild(gate)
    monkeypatch.setattr("rbm_service.serving.supervisor.REBUILD_TIMEOUTS", 0.001)
    with pytest.raises(EngineLostError, match=r"tiny 1: not rebuilt within 0\.06 s"):
        asyncio.run(until_lost(fail, supervised))
    gate.opened.set()


def test_a_load_that_hangs_does_not_keep_a_failed_engine_from_ending_the_process(
    manager, fail, monkeypatch, supervised
):
    opened = threading.Event()
    monkeypatch.setattr(manager._loader, "promoted_version", lambda *_: opened.wait(30))
    monkeypatch.setattr("rbm_service.serving.supervisor.REBUILD_TIMEOUTS", 0.001)

    async def scenario():
        hanging = asyncio.create_task(manager.reload("tiny"))
        await asyncio.sleep(0.01)
        try:
            await until_lost(fail, supervised)
        finally:
            hanging.cancel()

    with pytest.raises(EngineLostError, match="not rebuilt within"):
        asyncio.run(scenario())
    opened.set()
