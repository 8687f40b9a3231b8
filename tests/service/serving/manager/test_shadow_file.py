"""The file that names a shadow."""

import asyncio

import pytest
from structlog.testing import capture_logs

from rbm_bundle import ShadowSpec

LOADED = ["loading model", "model loaded"]


def shadow_in(following):
    shadow = following.models.shadows.get("tiny")
    return shadow and (shadow.spec.version, shadow.spec.share)


def test_a_shadow_is_cast_changed_and_taken_away_by_a_file(following):
    following.publish()
    following.publish()
    assert (following.look(), shadow_in(following)) == ([], None)
    cast = []
    for shadow in (ShadowSpec(2, 0.5), ShadowSpec(2, 0.25), ShadowSpec(3, 0.25)):
        following.repository.set_shadow("tiny", shadow)
        assert following.look() == ["shadow loaded"]
        assert shadow_in(following) == (shadow.version, shadow.share)
        assert following.look() == []
        cast.append(following.models.shadows.get("tiny"))
        assert [shadow._closed for shadow in cast] == [True] * (len(cast) - 1) + [False]
    following.repository.clear_shadow("tiny")
    assert (following.look(), shadow_in(following)) == ([], None)
    assert all(shadow._closed for shadow in cast)


def test_a_version_in_service_is_not_its_own_shadow_and_one_again_when_it_leaves(following):
    following.publish()
    following.repository.set_shadow("tiny", ShadowSpec(2, 1.0))
    following.look()
    following.repository.promote("tiny", 2)
    assert (following.look(), shadow_in(following)) == (LOADED, None)
    following.repository.promote("tiny", 1)
    assert (following.look(), shadow_in(following)) == ([*LOADED, "shadow loaded"], (2, 1.0))


def test_a_shadow_stays_with_the_next_version_in_service(following):
    following.publish()
    following.repository.set_shadow("tiny", ShadowSpec(2, 1.0))
    following.look()
    shadow = following.models.shadows.get("tiny")
    following.publish(promote=True)
    assert following.look() == LOADED
    assert following.models.shadows.get("tiny") is shadow


@pytest.mark.parametrize("content", [b"2 0", b"9 0.5", b"2"])
def test_a_shadow_that_is_refused_is_refused_once_and_the_model_answers_alone(following, content):
    following.publish()
    following.repository.set_shadow("tiny", ShadowSpec(2, 1.0))
    following.look()
    (following.folder / "SHADOW").write_bytes(content)
    assert following.look() == ["shadow refused; the model answers alone"]
    assert (following.look(), shadow_in(following)) == ([], None)
    assert following.version == 1


def test_a_broken_version_is_no_shadow(following):
    version = following.publish()
    following.repository.set_shadow("tiny", ShadowSpec(version, 1.0))
    golden = following.folder / str(version) / "golden.npz"
    golden.write_bytes(golden.read_bytes()[:-1])
    with capture_logs() as lines:
        asyncio.run(following.manager.poll_once())
    assert "golden.npz: expected" in lines[-1]["reason"]
    assert shadow_in(following) is None


def test_a_shadow_that_is_taken_away_or_replaced_or_whose_model_is_unloaded_leaves_no_series(following):
    def shadow_series():
        samples = [sample for family in following.metrics.registry.collect() for sample in family.samples]
        return {sample.labels["shadow_version"] for sample in samples if "shadow_version" in sample.labels}

    following.publish()
    following.publish()
    for version in (2, 3):
        following.repository.set_shadow("tiny", ShadowSpec(version, 1.0))
        following.look()
        following.models.shadows.get("tiny").metrics.count("dropped")
        assert shadow_series() == {str(version)}
    shadow = following.models.shadows.get("tiny")
    following.repository.clear_shadow("tiny")
    following.look()
    shadow.metrics.count_scored(0.1, 1, 1, 0)  # it was still at it
    assert shadow_series() == set()
    following.repository.set_shadow("tiny", ShadowSpec(2, 1.0))
    following.look()
    following.models.shadows.get("tiny").metrics.count("dropped")
    asyncio.run(following.models.remove("tiny"))
    assert shadow_series() == set()


def test_a_shadow_that_was_half_copied_is_tried_again_when_the_copy_is_complete(following):
    version = following.publish()
    following.repository.set_shadow("tiny", ShadowSpec(version, 1.0))
    golden = following.folder / str(version) / "golden.npz"
    content = golden.read_bytes()
    golden.write_bytes(content[:-1])
    assert following.look() == ["shadow refused; the model answers alone"]
    assert following.look() == []
    golden.write_bytes(content)
    assert (following.look(), shadow_in(following)) == (["shadow loaded"], (version, 1.0))
