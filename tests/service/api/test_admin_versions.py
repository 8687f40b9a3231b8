"""The versions of a model, and which of them is compared with the one in service."""

import os

import pytest
from starlette.testclient import TestClient

from rbm_bundle import ShadowSpec
from rbm_service.app import create_app
from tests.classifying import classify
from tests.keys import ADMIN_KEY
from tests.servers import wait_until

RIGHT = {"X-API-Key": ADMIN_KEY}
SHADOW = "/admin/models/tiny/shadow"


@pytest.fixture
def operator(admin):
    """A client that sends the admin key with everything."""
    admin.headers.update(RIGHT)
    return admin


def versions_of(client):
    answer = client.get("/admin/models/tiny")
    assert answer.status_code == 200
    return answer.json()


def shadows_of(client, repository):
    """What is compared, by the one that loads it, the list of versions and the repository."""
    found = repository.shadow("tiny")
    written = found and {"version": found.version, "share": found.share}
    return client.get("/info").json()["shadow"], versions_of(client)["shadow"], written


def test_versions_are_listed_newest_first_with_what_their_manifests_say(operator, bundle):
    manifest = bundle.manifest
    described = {
        "bundle_id": manifest.bundle_id,
        "created_at": manifest.created_at,
        "student": "rbm",
        "num_parameters": manifest.architecture.num_parameters,
        "val_accuracy": manifest.metrics.val_accuracy,
        "test_accuracy": manifest.metrics.test_accuracy,
        "teacher_test_accuracy": manifest.metrics.teacher_test_accuracy,
    }
    assert versions_of(operator) == {
        "name": "tiny",
        "current": 1,
        "in_service": 1,
        "shadow": None,
        "versions": [{"version": version, **described} for version in (3, 2, 1)],
        "problems": [],
    }


def test_what_cannot_be_read_is_told_and_the_rest_is_listed(operator, repository):
    (repository.path_of("tiny", 2) / "manifest.json").write_text("{")
    (repository.root / "tiny" / "CURRENT").write_text("9\n")
    (repository.root / "tiny" / "SHADOW").write_text("2 0\n")
    listed = versions_of(operator)
    assert [version["version"] for version in listed["versions"]] == [3, 2, 1]
    assert listed["versions"][1].keys() == {"version", "error"}
    assert "expected a manifest, got no JSON" in listed["versions"][1]["error"]
    assert (listed["current"], listed["in_service"], listed["shadow"]) == (None, 1, None)
    assert ["CURRENT" in problem or "SHADOW" in problem for problem in listed["problems"]] == [True, True]


def test_a_promoted_version_that_was_not_taken_up_is_not_the_one_in_service(operator, repository):
    repository.set_current("tiny", 3)
    assert [versions_of(operator)[key] for key in ("current", "in_service")] == [3, 1]


def test_a_model_that_is_not_in_the_repository_is_404(operator):
    answer = operator.get("/admin/models/cora")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")


def test_a_model_that_is_not_in_service_is_listed_all_the_same(operator, repository):
    repository.publish(repository.path_of("tiny", 1), "other")
    listed = operator.get("/admin/models/other").json()
    assert [listed[key] for key in ("name", "current", "in_service")] == ["other", None, None]


def test_a_shadow_is_loaded_when_the_answer_comes_and_gone_when_it_was_removed(operator, repository):
    answer = operator.put(SHADOW, json={"version": 2, "share": 1})
    assert (answer.status_code, answer.json()) == (200, versions_of(operator))
    assert shadows_of(operator, repository) == ({"version": 2, "share": 1.0},) * 3
    classify(operator, node_ids=[100, 105])
    wait_until(
        lambda: operator.get("/stats").json()["models"][0]["shadow"]["agreeing_rows"] == 2,
        "two rows compared",
    )
    for _ in range(2):  # nothing is wrong with removing what is not there
        removed = operator.delete(SHADOW)
        assert (removed.status_code, removed.json()) == (200, versions_of(operator))
        assert shadows_of(operator, repository) == (None,) * 3
    assert classify(operator, node_ids=[100])


def test_a_shadow_that_was_set_is_left_alone_by_the_next_look_and_found_after_a_restart(
    operator, admin_settings
):
    operator.put(SHADOW, json={"version": 2, "share": 0.25})
    shadow = operator.app.app_state.models.shadows["tiny"]
    operator.post("/admin/models/tiny/reload")
    assert operator.app.app_state.models.shadows["tiny"] is shadow
    with TestClient(create_app(admin_settings)) as restarted:
        wait_until(
            lambda: restarted.get("/info").json()["shadow"] == {"version": 2, "share": 0.25}, "the shadow"
        )


@pytest.mark.parametrize(
    ("body", "status", "code", "found"),
    [
        ({"version": 3, "share": 0.5}, 422, "model_refused", "golden.npz: expected"),
        ({"version": 9, "share": 0.5}, 422, "model_refused", "expected version 9, got versions 1, 2, 3"),
        ({"version": 1, "share": 0.5}, 409, "conflict", "version 1 is the one in service"),
        ({"version": 2, "share": 0}, 422, "validation", "share: expected more than 0, got 0"),
        ({"version": 2, "share": 1.5}, 422, "validation", "share: expected at most 1, got 1.5"),
        ({"version": 2}, 422, "validation", "share: expected a value, got none"),
    ],
)
@pytest.mark.parametrize("former", [None, {"version": 2, "share": 0.5}])
def test_a_shadow_that_is_refused_changes_nothing(operator, repository, body, status, code, found, former):
    if former:
        assert operator.put(SHADOW, json=former).status_code == 200
    before = operator.app.app_state.models.shadows.get("tiny")
    answer = operator.put(SHADOW, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert found in answer.json()["detail"]
    assert shadows_of(operator, repository) == (former,) * 3
    assert operator.app.app_state.models.shadows.get("tiny") is before


@pytest.mark.parametrize("wanted", [{"version": 2, "share": 0.5}, None])
def test_a_repository_that_cannot_be_written_is_told_and_the_shadow_stays(
    operator, repository, monkeypatch, wanted
):
    operator.put(SHADOW, json={"version": 2, "share": 0.1})

    def refuse(*_, **__):
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr("rbm_bundle.repository.replace_file", refuse)
    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    answer = operator.put(SHADOW, json=wanted) if wanted else operator.delete(SHADOW)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "cannot be written (Read-only file system); the shadow was not changed" in answer.json()["detail"]
    assert shadows_of(operator, repository) == ({"version": 2, "share": 0.1},) * 3


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_model_that_is_not_in_service_has_no_shadow(operator, method):
    answer = operator.request(method, "/admin/models/cora/shadow", json={"version": 2, "share": 0.5})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/admin/models/tiny"), ("PUT", SHADOW), ("DELETE", SHADOW)]
)
def test_without_the_admin_key_nothing_is_told_or_done(admin, repository, method, path):
    repository.set_shadow("tiny", ShadowSpec(2, 0.5))
    answer = admin.request(method, path, json={"version": 2, "share": 1})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert repository.shadow("tiny") == ShadowSpec(2, 0.5)


def test_a_method_that_a_path_does_not_take_is_told_all_that_it_does(operator):
    answer = operator.post(SHADOW, json={"version": 2, "share": 1})
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, PUT")
