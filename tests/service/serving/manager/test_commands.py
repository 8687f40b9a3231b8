"""What an admin commands, and what the index says of it."""

import asyncio

import pytest

from rbm_bundle import ShadowSpec
from rbm_service.errors import ConflictError, DrainingError, ModelRefusedError, UnknownModelError
from tests.bundles import TINY


def test_one_change_happens_at_a_time(managed, monkeypatch):
    """Two promotions at once would otherwise both find version 1 in service."""
    for _ in range(2):
        managed.publish()

    async def scenario():
        promote = managed.manager.promote
        return await asyncio.gather(promote("tiny", 2), promote("tiny", 3), promote("tiny", 3))

    changes = [(change.former_version, change.version) for change in asyncio.run(scenario())]
    assert changes == [(1, 2), (2, 3), (3, 3)]
    assert managed.outcomes() == {"loaded": 3, "refused": 0}


def index_of(managed):
    return [(row.name, row.version, row.state) for row in asyncio.run(managed.manager.index())]


def test_the_index_tells_what_is_served_what_was_refused_and_what_else_there_is(managed):
    managed.repository.publish(TINY, "other")
    version = managed.publish_broken()
    managed.poll()
    rows = asyncio.run(managed.manager.index())
    assert [(row.name, row.version, row.state) for row in rows] == [
        ("tiny", 1, "READY"),
        ("tiny", version, "UNAVAILABLE"),
        ("other", None, "UNAVAILABLE"),
    ]
    assert "golden.npz: expected" in rows[1].reason
    managed.publish(promote=True)
    managed.poll()
    assert index_of(managed) == [("tiny", 3, "READY"), ("other", None, "UNAVAILABLE")]


def test_models_are_loaded_and_unloaded_by_command(explicit, metrics):
    explicit.repository.promote("other", explicit.repository.publish(TINY, "other"))
    change = asyncio.run(explicit.manager.load("other"))
    assert (change.name, change.version, change.former_version) == ("other", 1, None)
    assert index_of(explicit) == [("tiny", 1, "READY"), ("other", 1, "READY")]
    asyncio.run(explicit.manager.unload("tiny"))
    assert index_of(explicit) == [("other", 1, "READY"), ("tiny", None, "UNAVAILABLE")]
    assert explicit.poll() == []
    change = asyncio.run(explicit.manager.load("tiny"))
    assert (change.version, change.former_version) == (1, None)


def test_a_command_for_a_model_that_is_not_there_is_refused(explicit):
    for command in (explicit.manager.load, explicit.manager.unload):
        with pytest.raises(UnknownModelError, match="'cora'"):
            asyncio.run(command("cora"))


def test_a_model_that_does_not_load_by_command_is_not_there(explicit):
    explicit.repository.publish(TINY, "other")
    with pytest.raises(ModelRefusedError, match="rbm-models promote other 1"):
        asyncio.run(explicit.manager.load("other"))
    assert [model.name for model in explicit.models.in_service] == ["tiny"]
    explicit.models.check_ready()


def test_models_come_and_go_by_command_only_where_that_is_wanted(managed):
    for command in (managed.manager.load, managed.manager.unload):
        with pytest.raises(ConflictError, match="RBM_MODEL_CONTROL=explicit"):
            asyncio.run(command("tiny"))


def test_under_explicit_control_nothing_is_polled(explicit):
    async def scenario():
        managed = asyncio.create_task(explicit.manager.poll_loop())
        await asyncio.sleep(0)
        await explicit.manager.poll_once()  # waits for the first poll
        explicit.publish(promote=True)
        await asyncio.sleep(0.2)
        before = explicit.version
        explicit.manager.wake()
        while explicit.version == before:
            await asyncio.sleep(0.01)
        managed.cancel()
        await asyncio.wait([managed])
        return before

    assert asyncio.run(scenario()) == 1


def test_nothing_changes_any_more_once_the_service_drains(managed):
    managed.publish(promote=True)
    managed.repository.set_shadow("tiny", ShadowSpec(2, 1.0))
    managed.models.begin_drain()
    assert managed.poll() == []
    with pytest.raises(DrainingError):
        asyncio.run(managed.manager.promote("tiny", 2))
    assert managed.version == 1
