import os

import pytest
from starlette.testclient import TestClient

from rbm_service.app import create_app
from tests.bundles import RECORDS
from tests.keys import ADMIN_KEY

RIGHT = {"X-API-Key": ADMIN_KEY}
ROUTES = ["promote", "rollback", "reload"]


def command(client, route, body=None, *, name="tiny", headers=RIGHT):
    return client.post(f"/admin/models/{name}/{route}", json=body, headers=headers)


def version_of(client):
    answer = client.post("/classify", json={"node_ids": [100]})
    assert answer.status_code == 200
    return answer.json()["model"]["version"]


def test_a_version_is_promoted_in_one_call_and_rolled_back_in_another(admin, repository):
    promoted = command(admin, "promote", {"version": 2})
    assert (promoted.status_code, promoted.json()) == (
        200,
        {
            "model": {"name": "tiny", "version": 2},
            "former_version": 1,
            "notes": ["the same as version 1, byte for byte"],
        },
    )
    assert version_of(admin) == repository.current("tiny") == 2
    back = command(admin, "rollback")
    assert (back.status_code, back.json()["model"]["version"], back.json()["former_version"]) == (200, 1, 2)
    assert version_of(admin) == repository.current("tiny") == 1


def test_a_promotion_tells_what_callers_will_notice(admin, repository):
    version = repository.publish(RECORDS, "tiny")
    told = command(admin, "promote", {"version": version}).json()["notes"]
    assert told[0] == "unlike version 1: classes without 'red', 'green', 'blue' and with 'art', 'bio'"
    back = command(admin, "reload").json()
    assert (back["former_version"], back["notes"]) == (version, [])


def test_a_command_that_is_not_declared_as_json_is_refused(admin, repository):
    headers = {**RIGHT, "Content-Type": "text/plain"}
    answer = admin.post("/admin/models/tiny/promote", content=b'{"version": 2}', headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert version_of(admin) == repository.current("tiny") == 1


def test_promoting_what_is_in_service_loads_nothing_and_mends_what_is_written(admin, repository):
    repository.set_current("tiny", 3)
    answer = command(admin, "promote", {"version": 1})
    assert answer.json() == {"model": {"name": "tiny", "version": 1}, "former_version": 1, "notes": []}
    assert repository.current("tiny") == 1
    assert 'rbm_model_loads_total{model_name="tiny",outcome="loaded"} 1.0' in admin.get("/metrics").text


def test_a_promotion_by_hand_is_seen_at_a_reload(admin, repository):
    repository.promote("tiny", 2)
    assert command(admin, "reload").json()["former_version"] == 1
    assert version_of(admin) == 2
    assert command(admin, "reload").json()["former_version"] == 2


@pytest.mark.parametrize(
    ("version", "found"), [(3, "golden.npz: expected"), (9, "expected version 9, got versions 1, 2, 3")]
)
def test_a_version_that_does_not_load_is_refused_with_the_reason_and_nothing_changes(
    admin, repository, version, found
):
    answer = command(admin, "promote", {"version": version})
    assert (answer.status_code, answer.json()["code"]) == (422, "model_refused")
    assert found in answer.json()["detail"]
    assert "Traceback" not in answer.text
    assert version_of(admin) == repository.current("tiny") == 1
    assert 'rbm_model_loads_total{model_name="tiny",outcome="refused"} 1.0' in admin.get("/metrics").text


def test_a_reload_tries_again_what_was_refused_and_says_so(admin, repository):
    repository.set_current("tiny", 3)
    for _ in range(2):
        assert command(admin, "reload").json()["code"] == "model_refused"
    assert version_of(admin) == 1


def test_what_fails_for_no_known_reason_is_told_without_its_words(admin, monkeypatch):
    monkeypatch.setattr("rbm_service.serving.loader.Engine", lambda *_: 1 / 0)
    answer = command(admin, "promote", {"version": 2})
    assert (answer.status_code, answer.json()["detail"]) == (422, "it could not be loaded; the log says why")
    assert version_of(admin) == 1


def test_a_repository_that_cannot_be_written_is_told_and_nothing_changes(admin, repository, monkeypatch):
    def refuse(path, content):
        raise OSError(30, os.strerror(30), str(path))

    monkeypatch.setattr("rbm_bundle.repository.replace_file", refuse)
    answer = command(admin, "promote", {"version": 2})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "cannot be written (Read-only file system)" in answer.json()["detail"]
    assert version_of(admin) == repository.current("tiny") == 1
    assert 'rbm_model_loads_total{model_name="tiny",outcome="loaded"} 1.0' in admin.get("/metrics").text


def test_with_nothing_lower_there_is_no_rollback(admin):
    answer = command(admin, "rollback")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "expected a lower version" in answer.json()["detail"]


@pytest.mark.parametrize("route", ROUTES)
def test_a_model_that_is_not_in_service_is_404_with_those_that_are(admin, route):
    answer = command(admin, route, {"version": 1}, name="cora")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")
    assert "in service: tiny 1" in answer.json()["detail"]


@pytest.mark.parametrize("body", [{}, {"version": 0}, {"version": "2"}, {"version": 2, "force": True}, [2]])
def test_a_body_that_does_not_fit_is_422(admin, body):
    answer = command(admin, "promote", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": "wrong"},
        {"X-API-Key": ""},
        {"Authorization": ADMIN_KEY},
        {"Authorization": f"Basic {ADMIN_KEY}"},
    ],
)
def test_without_the_right_key_nothing_is_done(admin, route, headers, repository):
    answer = command(admin, route, {"version": 2}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert ADMIN_KEY not in answer.text
    assert repository.current("tiny") == 1


@pytest.mark.parametrize(
    "headers", [RIGHT, {"Authorization": f"Bearer {ADMIN_KEY}"}, {"authorization": f"bearer {ADMIN_KEY}"}]
)
def test_the_key_may_come_in_two_headers(admin, headers):
    assert command(admin, "reload", headers=headers).status_code == 200


@pytest.mark.parametrize("route", ROUTES)
def test_without_a_key_file_the_routes_are_not_there(admin_settings, route):
    with TestClient(create_app(admin_settings.model_copy(update={"admin_key_file": None}))) as client:
        answer = command(client, route, {"version": 2})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert not any("admin" in path for path in client.get("/openapi.json").json()["paths"])
