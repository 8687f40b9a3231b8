"""HEAD of whatever has a GET, calls from the scripts of other origins, and a prefix before every path."""

import asyncio

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from rbm_service.app import create_app
from rbm_service.settings import Settings
from tests.connections import InMemoryConnection
from tests.keys import ADMIN_KEY, API_KEY, key_files

ORIGIN = "https://app.example.org"
PROBES = ["/livez", "/readyz", "/v2/health/live", "/v2/health/ready"]
PAGES = ["/", "/console/main.js", "/docs", "/docs/swagger-ui.css", "/openapi.json"]
FIGURES = ["/info", "/model-card", "/v2", "/v2/models/tiny"]


@pytest.fixture
def guarded(models_dir, tmp_path):
    """A client of a service with both files of keys, and these settings."""
    files = key_files(tmp_path)

    def start(**others):
        settings = Settings(models_dir=models_dir, device="cpu", max_batch_rows=4, **files, **others)
        return TestClient(create_app(settings))

    return start


def written(settings, request, when=lambda app: None):
    """What is written on a connection to the service."""

    async def scenario():
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            when(app)
            connection = InMemoryConnection(app.request_middleware)
            connection.receive(request)
            await connection.answered()
            return b"".join(connection.transport.written)

    return asyncio.run(scenario())


def head_and_get(settings, path, when=lambda app: None):
    """What is written to HEAD and to GET of a path, the latter without its body."""
    request = b"%b " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nX-Request-ID: 7\r\n\r\n"
    head, get = (written(settings, request % method, when) for method in (b"HEAD", b"GET"))
    return head, get.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


@pytest.mark.parametrize("path", [*PROBES, *PAGES, *FIGURES])
def test_head_is_the_get_without_the_body(settings, path):
    head, get = head_and_get(settings, path)
    assert head.split()[1] == b"200"
    assert sorted(head.split(b"\r\n")) == sorted(get.split(b"\r\n"))


@pytest.mark.parametrize("path", ["/metrics", "/stats"])
def test_head_of_what_is_another_with_each_request_has_no_body(settings, path):
    head, _ = head_and_get(settings, path)
    assert head.split()[1] == b"200"
    assert head.endswith(b"\r\n\r\n")
    assert head.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize("path", PROBES)
def test_head_of_a_probe_says_that_the_service_drains(settings, path):
    head, _ = head_and_get(settings, path, lambda app: app.app_state.models.begin_drain())
    assert head.split()[1] == (b"503" if "ready" in path else b"200")


def test_head_needs_the_key_that_get_needs_and_is_counted_as_such(guarded):
    with guarded() as client:
        assert [client.head(path).status_code for path in PROBES] == [200] * 4
        value = client.app.app_state.metrics.registry.get_sample_value
        labels = {"route": "/livez", "method": "HEAD", "code": "200"}
        assert value("rbm_http_requests_total", labels) == 1
        assert client.head("/info").status_code == 401
        assert client.head("/info", headers={"X-API-Key": API_KEY}).status_code == 200
        refused = client.head("/classify", headers={"X-API-Key": API_KEY})
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type, x-api-key",
}


@pytest.mark.parametrize(
    "path", ["/classify", "/v2/models/tiny/infer", "/admin/models/tiny/promote", "/nothing"]
)
def test_a_preflight_needs_no_key(guarded, path):
    with guarded(cors_origins=f"https://other.example.org, {ORIGIN}") as client:
        answer = client.options(path, headers=PREFLIGHT)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == PREFLIGHT["Access-Control-Request-Headers"]
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("origin", ["http://app.example.org", f"{ORIGIN}:8443", f"{ORIGIN}.evil.org", "null"])
def test_another_origin_is_told_nothing(guarded, origin):
    with guarded(cors_origins=ORIGIN) as client:
        preflight = client.options("/classify", headers=PREFLIGHT | {"Origin": origin})
        answer = client.get("/livez", headers={"Origin": origin})
    assert preflight.status_code == 400
    assert answer.status_code == 200
    for told in (preflight, answer):
        assert "access-control-allow-origin" not in told.headers
        assert "Origin" in told.headers["vary"]


ASKED = {
    "200": ("POST", "/classify", {"X-API-Key": API_KEY}, {"node_ids": [100]}),
    "200 of the protocol": ("GET", "/v2", {"X-API-Key": API_KEY}, None),
    "401": ("POST", "/classify", {}, {"node_ids": [100]}),
    "401 of the protocol": ("GET", "/v2", {}, None),
    "403": ("POST", "/admin/models/tiny/reload", {"X-API-Key": API_KEY}, None),
    "404": ("GET", "/nothing", {"X-API-Key": API_KEY}, None),
    "422": ("POST", "/classify", {"X-API-Key": API_KEY}, {"nodes": 1}),
    "500": ("GET", "/readyz", {}, None),
}


@pytest.mark.parametrize("asked", ASKED)
def test_every_answer_may_be_read_by_the_scripts_of_an_origin(guarded, monkeypatch, asked):
    def fail(*args):
        raise RuntimeError

    monkeypatch.setattr("rbm_service.serving.registry.ModelRegistry.check_ready", fail)
    method, path, headers, body = ASKED[asked]
    with guarded(cors_origins=ORIGIN) as client:
        client = TestClient(client.app, raise_server_exceptions=False)
        answer = client.request(method, path, headers=headers | {"Origin": ORIGIN}, json=body)
    assert answer.status_code == int(asked[:3])
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["vary"] == "Origin"
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {"Server-Timing", "X-Request-ID", "Retry-After"} <= set(exposed)
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", [b"Origin: https://app.example.org\r\n", b""])
def test_over_a_connection_an_answer_says_so_as_well(settings, origin):
    content = b'{"node_ids": [100]}'
    head = b"POST /classify HTTP/1.1\r\nContent-Type: application/json\r\n" + origin
    request = head + b"Content-Length: %d\r\n\r\n%b" % (len(content), content)
    with_cors = settings.model_copy(update={"cors_origins": ORIGIN})
    answer = written(with_cors, request)
    assert answer.startswith(b"HTTP/1.1 200")
    assert (b"\r\naccess-control-allow-origin: https://app.example.org\r\n" in answer) == bool(origin)
    assert b"\r\nvary: Origin\r\n" in answer
    assert b"predictions" in answer


def test_by_default_no_origin_is_told_anything(guarded):
    with guarded() as client:
        answer = client.get("/livez", headers={"Origin": ORIGIN})
        preflight = client.options("/classify", headers=PREFLIGHT)
    assert preflight.status_code == 401
    for told in (answer, preflight):
        assert not {"access-control-allow-origin", "vary"} & set(told.headers)


@pytest.mark.parametrize(
    "origins", ["*", "app.example.org", f"{ORIGIN}/", f"{ORIGIN},*", "https://App.org", "https://"]
)
def test_what_is_no_origin_is_refused(origins):
    with pytest.raises(ValidationError, match="expected origins as in"):
        Settings(cors_origins=origins)


@pytest.mark.parametrize("prefix", ["/rbm", "/a/b", "/v2", "/admin"])
def test_behind_a_proxy_every_route_is_below_the_prefix_whether_it_is_cut_off_or_not(guarded, prefix):
    with guarded(root_path=prefix) as client:
        key = {"X-API-Key": API_KEY}
        kept = f"{prefix}/classify"
        for path in (kept, "/classify"):
            assert client.post(path, json={"node_ids": [100]}, headers=key).status_code == 200
            assert client.post(path, json={"node_ids": [100]}).status_code == 401
        for path in (f"{prefix}/livez", "/livez", f"{prefix}/v2/health/live"):
            assert client.get(path).status_code == client.head(path).status_code == 200
        document = client.get(f"{prefix}/openapi.json", headers=key).json()
        assert document["servers"] == [{"url": prefix}]
        assert "/classify" in document["paths"]
        page = client.get(f"{prefix}/docs", headers=key).text
        assert "url: 'openapi.json'" in page or '"openapi.json"' in page  # relative to the page
        value = client.app.app_state.metrics.registry.get_sample_value
        labels = {"route": "/classify", "method": "POST", "code": "200"}
        assert value("rbm_http_requests_total", labels) == 2
        answer = client.get(f"{prefix}/v2/models/absent", headers=key)
        assert (answer.status_code, list(answer.json())) == (404, ["error"])
        assert client.get(f"{prefix}/nothing", headers=key).json()["code"] == "not_found"


@pytest.mark.parametrize("prefix", ["", "/rbm", "/admin", "/livez", "/v2"])
def test_no_spelling_of_a_path_leads_to_the_admins_routes_without_the_admins_key(guarded, prefix):
    routes = ["/admin/models/tiny/reload", "/v2/repository/index", "/v2/repository/models/tiny/load"]
    before = [
        "",
        prefix,
        prefix * 2,
        prefix * 3,
        f"{prefix}/",
        f"/{prefix}",
        f"{prefix}/.",
        f"{prefix}/x/..",
        "/livez",
    ]
    before += ["/rbm%2f", "/%2e", prefix[:-1], f"{prefix}x", "//", "/readyz/.."]
    with guarded(root_path=prefix) as client:
        for key in ({}, {"X-API-Key": API_KEY}):
            statuses = {
                client.post(start + route, headers=key).status_code for start in before for route in routes
            }
            assert statuses <= {401, 403, 404, 405}
        assert client.post(f"{prefix}{routes[0]}", headers={"X-API-Key": ADMIN_KEY}).status_code == 200


@pytest.mark.parametrize("prefix", ["rbm", "/rbm/", "/", "/a//b", "/a?b", "/a b", "http://x/rbm"])
def test_what_is_no_prefix_is_refused(prefix):
    with pytest.raises(ValidationError, match="root_path"):
        Settings(root_path=prefix)


def test_more_for_a_body_than_for_all_of_them_is_refused():
    with pytest.raises(ValidationError, match="RBM_MAX_BODY_BYTES=20 exceeds RBM_MAX_BUFFERED_BYTES=10"):
        Settings(max_body_bytes=20, max_buffered_bytes=10)
