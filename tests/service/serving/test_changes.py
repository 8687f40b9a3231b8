import pytest

from rbm_bundle import ShadowSpec
from rbm_service.errors import UnknownModelError
from rbm_service.serving.changes import versions_of
from tests.bundles import TINY, repository_of


@pytest.fixture
def repository(tmp_path):
    repository = repository_of(tmp_path)
    repository.publish(TINY)
    return repository


def test_versions_are_told_newest_first_with_their_manifests(repository, bundle):
    repository.set_shadow("tiny", ShadowSpec(2, 0.5))
    found = versions_of(repository, "tiny")
    assert (found.current, found.shadow, found.problems) == (1, ShadowSpec(2, 0.5), [])
    assert list(found.manifests.items()) == [(2, bundle.manifest), (1, bundle.manifest)]


def test_what_is_wrong_with_one_of_them_hides_no_other(repository, bundle):
    (repository.path_of("tiny", 1) / "manifest.json").unlink()
    (repository.root / "tiny" / "SHADOW").write_text("7 0.5\n")
    found = versions_of(repository, "tiny")
    assert found.manifests[2] == bundle.manifest
    assert "manifest.json: expected the manifest of a bundle, got nothing readable" in found.manifests[1]
    (problem,) = found.problems
    assert "SHADOW: expected one of the versions [1, 2]" in problem


@pytest.mark.parametrize("name", ["cora", "../tiny"])
def test_a_model_that_is_not_there_is_unknown(repository, name):
    with pytest.raises(UnknownModelError, match="the repository holds no model"):
        versions_of(repository, name)
