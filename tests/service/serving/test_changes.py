import pytest

from rbm_bundle import ModelRepository, ShadowSpec
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


def test_more_versions_are_not_more_looks_at_their_folder(repository, monkeypatch):
    looks, versions = [], ModelRepository.versions
    monkeypatch.setattr(ModelRepository, "versions", lambda *args: looks.append(args) or versions(*args))
    versions_of(repository, "tiny")
    num_looks = len(looks)
    repository.publish(TINY)
    looks.clear()
    assert len(versions_of(repository, "tiny").manifests) == 3
    assert len(looks) == num_looks
