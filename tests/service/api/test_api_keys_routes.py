"""Which key opens which route, and that no key is ever told."""

import re

import pytest
from starlette.testclient import TestClient

from rbm_service.app import create_app
from rbm_service.settings import Settings
from rbm_service.web.error_response import speaks_protocol
from tests.classifying import lines_of
from tests.keys import ADMIN_KEY, ADMIN_KEY_LINE, API_KEY, API_KEY_LINE, WRONG_KEY, WRONG_KEY_LINE, key_files

OPEN, KEY, ADMIN = "open to everyone", "needs a key", "needs the admin key"
# Every route has its line here: whoever adds one decides.
ACCESS = {
    "/classify": KEY,
    "/info": KEY,
    "/stats": KEY,
    "/map": KEY,
    "/model-card": KEY,
    "/livez": OPEN,
    "/readyz": OPEN,
    "/metrics": KEY,
    "/openapi.json": KEY,
    "/docs": KEY,
    "/docs/{file}": KEY,
    "/": OPEN,
    "/console/{file}": OPEN,
    "/v2": KEY,
    "/v2/health/live": OPEN,
    "/v2/health/ready": OPEN,
    "/v2/models/stats": KEY,
    "/v2/models/{model}": KEY,
    "/v2/models/{model}/ready": KEY,
    "/v2/models/{model}/config": KEY,
    "/v2/models/{model}/stats": KEY,
    "/v2/models/{model}/infer": KEY,
    "/v2/models/{model}/versions/{version}": KEY,
    "/v2/models/{model}/versions/{version}/ready": KEY,
    "/v2/models/{model}/versions/{version}/config": KEY,
    "/v2/models/{model}/versions/{version}/stats": KEY,
    "/v2/models/{model}/versions/{version}/infer": KEY,
    "/v2/systemsharedmemory/{rest:path}": KEY,
    "/v2/cudasharedmemory/{rest:path}": KEY,
    "/v2/trace/setting": KEY,
    "/v2/models/{model}/trace/setting": KEY,
    "/v2/logging": KEY,
    "/v2/repository/index": ADMIN,
    "/v2/repository/models/{model}/load": ADMIN,
    "/v2/repository/models/{model}/unload": ADMIN,
    "/admin/models/{name}": ADMIN,
    "/admin/models/{name}/promote": ADMIN,
    "/admin/models/{name}/rollback": ADMIN,
    "/admin/models/{name}/reload": ADMIN,
    "/admin/models/{name}/shadow": ADMIN,
}
NAMES = {"model": "tiny", "name": "tiny", "version": "1", "rest:path": "status", "file": "swagger-ui.css"}
REFUSED = {
    OPEN: {},
    KEY: {"none": 401, "wrong": 401},
    ADMIN: {"none": 401, "wrong": 401, "api": 403},
}
CODES = {401: "unauthorized", 403: "forbidden"}

PRESENTED = {
    "none": {},
    "wrong": {"Authorization": f"Bearer {WRONG_KEY}"},
    "api": {"Authorization": f"Bearer {API_KEY}"},
    "admin": {"X-API-Key": ADMIN_KEY},
}


@pytest.fixture
def guarded(models_dir, tmp_path):
    settings = Settings(models_dir=models_dir, device="cpu", max_batch_rows=4, **key_files(tmp_path))
    with TestClient(create_app(settings)) as client:
        yield client


def ask(client, path, key):
    methods = {method for route in client.app.routes if route.path == path for method in route.methods}
    filled = re.sub(r"{(.*?)}", lambda name: NAMES[name[1]], path)
    return client.request(min(methods - {"HEAD"}), filled, headers=PRESENTED[key])


def test_every_route_has_its_line(guarded):
    assert {route.path for route in guarded.app.routes} == set(ACCESS)


@pytest.mark.parametrize("key", PRESENTED)
@pytest.mark.parametrize("path", ACCESS)
def test_a_route_opens_to_the_keys_that_it_is_for(guarded, path, key):
    answer = ask(guarded, path, key)
    status = REFUSED[ACCESS[path]].get(key)
    if status is None:
        assert answer.status_code not in CODES
        assert answer.status_code < 500
    else:
        assert answer.status_code == status
        if speaks_protocol(path):
            assert list(answer.json()) == ["error"]
        else:
            assert answer.json()["code"] == CODES[status]
            assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)


@pytest.mark.parametrize(("key", "status"), [("none", 401), ("wrong", 401), ("api", 403), ("admin", 404)])
@pytest.mark.parametrize("path", ["/admin/nothing", "/v2/repository/nothing"])
def test_below_the_admins_paths_nobody_learns_what_is_there(guarded, path, key, status):
    assert guarded.post(path, headers=PRESENTED[key]).status_code == status


@pytest.mark.parametrize("path", ["/admin/nothing", "/v2/repository/nothing"])
def test_without_an_admin_key_there_is_nothing_of_the_admins(client, path):
    answer = client.post(path, headers=PRESENTED["admin"])
    assert answer.status_code == 404
    assert answer.json()["error" if speaks_protocol(path) else "detail"] == "no such route"


def test_an_unknown_path_needs_a_key_like_any_other(guarded):
    assert guarded.get("/nothing").status_code == 401
    assert guarded.get("/nothing", headers=PRESENTED["api"]).status_code == 404


@pytest.mark.parametrize("key", ["api", "admin"])
def test_with_a_key_nodes_are_classified(guarded, key):
    answer = guarded.post("/classify", json={"node_ids": [100]}, headers=PRESENTED[key])
    assert answer.status_code == 200


def test_a_refused_request_for_predictions_counts_as_their_failure(guarded):
    guarded.post("/classify", headers=PRESENTED["wrong"])
    guarded.get("/info")
    value = guarded.app.app_state.metrics.registry.get_sample_value
    assert value("rbm_inference_failures_total", {"reason": "unauthorized"}) == 1
    requests = {"route": "/classify", "method": "POST", "code": "401"}
    assert value("rbm_http_requests_total", requests) == 1


def test_the_access_line_names_the_key_and_nothing_tells_it(guarded, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError

    with lines_of(guarded) as logs:
        answers = [ask(guarded, path, key) for path in ACCESS for key in PRESENTED]
        monkeypatch.setattr("rbm_service.api.classify.write_answer", fail)
        answers.append(guarded.post("/classify", json={"node_ids": [100]}, headers=PRESENTED["api"]))
    assert answers[-1].status_code == 500
    lines = [line for line in logs if line["event"] == "request" and line["route"] == "/info"]
    assert [line["key"] for line in lines] == [None, None, "web", "admin"]
    told = str(logs) + "".join(answer.text + str(answer.headers) for answer in answers)
    for secret, line in (
        (API_KEY, API_KEY_LINE),
        (ADMIN_KEY, ADMIN_KEY_LINE),
        (WRONG_KEY, WRONG_KEY_LINE),
    ):
        assert secret not in told
        assert line.split()[-1] not in told


def test_the_openapi_document_says_which_routes_need_a_key(guarded):
    document = guarded.get("/openapi.json", headers=PRESENTED["api"]).json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "api_key"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            refusals = {str(status) for status in REFUSED[ACCESS[path]].values()}
            assert {"401", "403"} & set(operation["responses"]) == refusals
            assert operation.get("security") == ([{"bearer": []}, {"api_key": []}] if refusals else None)


def test_the_openapi_document_of_an_open_service_speaks_of_no_keys(client):
    document = client.get("/openapi.json").json()
    assert "securitySchemes" not in document["components"]
    assert "401" not in document["paths"]["/classify"]["post"]["responses"]
