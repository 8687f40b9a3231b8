"""The shadow that an admin commands."""

import asyncio

import pytest
from structlog.testing import capture_logs

from rbm_bundle import ShadowSpec
from rbm_service.errors import ConflictError, DrainingError, ModelRefusedError


def set_shadow(managed, wanted):
    asyncio.run(managed.manager.set_shadow("tiny", wanted))
    return managed.models.shadows.get("tiny")


def test_a_shadow_that_was_commanded_is_not_loaded_again_by_a_poll(managed):
    version = managed.publish()
    shadow = set_shadow(managed, ShadowSpec(version, 1.0))
    assert managed.poll() == []
    assert managed.models.shadows["tiny"] is shadow
    assert set_shadow(managed, ShadowSpec(version, 1.0)) is shadow
    assert set_shadow(managed, None) is None
    assert (managed.poll(), managed.repository.shadow("tiny")) == ([], None)


def test_another_share_of_the_same_version_goes_on_with_its_counters(managed):
    version = managed.publish()
    set_shadow(managed, ShadowSpec(version, 0.5)).metrics.count("dropped")
    requests, _ = set_shadow(managed, ShadowSpec(version, 0.25)).metrics.counts(version=1)
    assert requests["dropped"] == 1


def test_a_shadow_and_a_promotion_take_turns(managed):
    """Both at once would otherwise make the version in service its own shadow."""
    version = managed.publish()

    async def scenario():
        manager = managed.manager
        commands = manager.promote("tiny", version), manager.set_shadow("tiny", ShadowSpec(version, 1.0))
        return await asyncio.gather(*commands, return_exceptions=True)

    promoted, refused = asyncio.run(scenario())
    assert promoted.version == version
    assert isinstance(refused, ConflictError)
    assert (managed.models.shadows, managed.repository.shadow("tiny")) == ({}, None)


def test_what_fails_for_no_known_reason_is_told_without_its_words_and_logged_with_them(managed, monkeypatch):
    version = managed.publish()
    monkeypatch.setattr("rbm_service.serving.loader.Engine", lambda *_: 1 / 0)
    with capture_logs() as lines, pytest.raises(ModelRefusedError, match="the log says why"):
        set_shadow(managed, ShadowSpec(version, 1.0))
    (line,) = lines
    assert (line["event"], line["reason"]) == ("shadow refused; nothing changes", "division by zero")
    assert managed.outcomes()["refused"] == 0
    assert managed.repository.shadow("tiny") is None


def test_a_service_that_is_about_to_end_takes_no_shadow(managed):
    version = managed.publish()
    managed.models.begin_drain()
    with pytest.raises(DrainingError):
        set_shadow(managed, ShadowSpec(version, 1.0))
