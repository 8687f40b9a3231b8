"""The file that names a shadow."""

import asyncio

import pytest
from structlog.testing import capture_logs

from rbm_bundle import ShadowSpec

LOADED = ["loading model", "model loaded"]


def shadow_in(managed):
    shadow = managed.models.shadows.get("tiny")
    return shadow and (shadow.spec.version, shadow.spec.share)


def test_a_shadow_is_set_changed_and_removed_by_a_file(managed):
    managed.publish()
    managed.publish()
    assert (managed.poll(), shadow_in(managed)) == ([], None)
    loaded = []
    for shadow in (ShadowSpec(2, 0.5), ShadowSpec(2, 0.25), ShadowSpec(3, 0.25)):
        managed.repository.set_shadow("tiny", shadow)
        assert managed.poll() == ["shadow loaded"]
        assert shadow_in(managed) == (shadow.version, shadow.share)
        assert managed.poll() == []
        loaded.append(managed.models.shadows.get("tiny"))
        assert [shadow._closed for shadow in loaded] == [True] * (len(loaded) - 1) + [False]
    managed.repository.clear_shadow("tiny")
    assert (managed.poll(), shadow_in(managed)) == ([], None)
    assert all(shadow._closed for shadow in loaded)


def test_a_version_in_service_is_not_its_own_shadow_and_one_again_when_it_leaves(managed):
    managed.publish()
    managed.repository.set_shadow("tiny", ShadowSpec(2, 1.0))
    managed.poll()
    managed.repository.promote("tiny", 2)
    assert (managed.poll(), shadow_in(managed)) == (LOADED, None)
    managed.repository.promote("tiny", 1)
    assert (managed.poll(), shadow_in(managed)) == ([*LOADED, "shadow loaded"], (2, 1.0))


def test_a_shadow_stays_with_the_next_version_in_service(managed):
    managed.publish()
    managed.repository.set_shadow("tiny", ShadowSpec(2, 1.0))
    managed.poll()
    shadow = managed.models.shadows.get("tiny")
    managed.publish(promote=True)
    assert managed.poll() == LOADED
    assert managed.models.shadows.get("tiny") is shadow


@pytest.mark.parametrize("content", [b"2 0", b"9 0.5", b"2"])
def test_a_shadow_that_is_refused_is_refused_once_and_the_model_answers_alone(managed, content):
    managed.publish()
    managed.repository.set_shadow("tiny", ShadowSpec(2, 1.0))
    managed.poll()
    (managed.folder / "SHADOW").write_bytes(content)
    assert managed.poll() == ["shadow refused; the model answers alone"]
    assert (managed.poll(), shadow_in(managed)) == ([], None)
    assert managed.version == 1


def test_a_broken_version_is_no_shadow(managed):
    version = managed.publish()
    managed.repository.set_shadow("tiny", ShadowSpec(version, 1.0))
    golden = managed.folder / str(version) / "golden.npz"
    golden.write_bytes(golden.read_bytes()[:-1])
    with capture_logs() as lines:
        asyncio.run(managed.manager.poll_once())
    assert "golden.npz: expected" in lines[-1]["reason"]
    assert shadow_in(managed) is None


def test_a_shadow_that_is_taken_away_or_replaced_or_whose_model_is_unloaded_leaves_no_series(managed):
    def shadow_series():
        samples = [sample for family in managed.metrics.registry.collect() for sample in family.samples]
        return {sample.labels["shadow_version"] for sample in samples if "shadow_version" in sample.labels}

    managed.publish()
    managed.publish()
    for version in (2, 3):
        managed.repository.set_shadow("tiny", ShadowSpec(version, 1.0))
        managed.poll()
        managed.models.shadows.get("tiny").metrics.count("dropped")
        assert shadow_series() == {str(version)}
    shadow = managed.models.shadows.get("tiny")
    managed.repository.clear_shadow("tiny")
    managed.poll()
    shadow.metrics.count_scored(0.1, 1, 1, 0)  # it was still at it
    assert shadow_series() == set()
    managed.repository.set_shadow("tiny", ShadowSpec(2, 1.0))
    managed.poll()
    managed.models.shadows.get("tiny").metrics.count("dropped")
    asyncio.run(managed.models.remove("tiny"))
    assert shadow_series() == set()


def test_a_shadow_that_was_half_copied_is_tried_again_when_the_copy_is_complete(managed):
    version = managed.publish()
    managed.repository.set_shadow("tiny", ShadowSpec(version, 1.0))
    golden = managed.folder / str(version) / "golden.npz"
    content = golden.read_bytes()
    golden.write_bytes(content[:-1])
    assert managed.poll() == ["shadow refused; the model answers alone"]
    assert managed.poll() == []
    golden.write_bytes(content)
    assert (managed.poll(), shadow_in(managed)) == (["shadow loaded"], (version, 1.0))
