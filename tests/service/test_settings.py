import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from rbm_service.settings import Settings, service_links


def test_the_defaults_are_those_that_are_documented():
    settings = Settings()
    assert settings.models_dir == Path("models")
    assert (settings.model, settings.device, settings.host, settings.port) == (
        None,
        "cuda",
        "127.0.0.1",
        8000,
    )
    assert settings.max_batch_rows == 1024
    assert settings.max_body_bytes == 16 * 2**20
    assert settings.metrics_port is None
    assert settings.request_timeout_seconds == settings.drain_seconds == 10
    assert settings.header_timeout_seconds == settings.body_timeout_seconds == 10
    assert settings.api_keys_file is settings.admin_key_file is None
    assert settings.reload_poll_seconds == 2


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("RBM_MODEL", "cora")
    monkeypatch.setenv("RBM_MAX_QUEUED_ROWS", "5000")
    settings = Settings()
    assert settings.model == "cora"
    assert settings.max_queued_rows == 5000


def test_an_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv("RBM_METRICS_PORT", "")
    assert Settings().metrics_port is None


@pytest.mark.parametrize("name", ["RBM_PROT", "rbm_prot"])
def test_an_unknown_variable_is_refused_by_name_with_the_closest_known_one(monkeypatch, name):
    monkeypatch.setenv(name, "8000")
    with pytest.raises(ValidationError, match=rf"{name} is not a setting \(did you mean RBM_PORT\?\)"):
        Settings()


def test_an_unknown_variable_like_nothing_known_is_refused_without_a_guess(monkeypatch):
    monkeypatch.setenv("RBM_ZZZZZZ", "1")
    with pytest.raises(ValidationError, match="RBM_ZZZZZZ is not a setting") as refusal:
        Settings()
    assert "did you mean" not in str(refusal.value)


def links_of(service, port, protocol="TCP"):
    """What Kubernetes sets for a Service, with a named port."""
    scheme, prefix = protocol.lower(), f"{service}_PORT_{port}_{protocol}"
    return {
        f"{service}_SERVICE_HOST": "10.96.0.7",
        f"{service}_SERVICE_PORT": str(port),
        f"{service}_SERVICE_PORT_HTTP_API": str(port),
        f"{service}_PORT": f"{scheme}://10.96.0.7:{port}",
        prefix: f"{scheme}://10.96.0.7:{port}",
        f"{prefix}_PROTO": scheme,
        f"{prefix}_PORT": str(port),
        f"{prefix}_ADDR": "10.96.0.7",
    }


@pytest.mark.parametrize(
    "service", ["RBM", "RBM_METRICS", "RBM_MODEL", "RBM_HOST", "RBM_SERVICE", "RBM_PORT", "RBM_A_PORT_1"]
)
@pytest.mark.parametrize("protocol", ["TCP", "UDP", "SCTP"])
def test_links_to_a_service_of_kubernetes_are_no_settings(monkeypatch, service, protocol):
    links = links_of(service, 9000, protocol)
    for name, value in links.items():
        monkeypatch.setenv(name, value)
    assert service_links(os.environ) == set(links)
    assert (Settings().port, Settings().metrics_port, Settings().model) == (8000, None, None)


def test_an_address_may_be_one_of_ipv6(monkeypatch):
    monkeypatch.setenv("RBM_PORT", "tcp://[fd00::7]:8000")
    assert Settings().port == 8000


def test_a_setting_counts_beside_the_links_to_a_service(monkeypatch):
    for name, value in {**links_of("RBM", 8000), "RBM_PORT": "9001", "RBM_MODEL": "cora"}.items():
        monkeypatch.setenv(name, value)
    assert (Settings().port, Settings().model, Settings(port=7).port) == (9001, "cora", 7)


@pytest.mark.parametrize(
    "name", ["RBM_PROT", "RBM_SERVICE_HOSTS", "RBM_METRICS_SERVICE_HOST", "RBM_PORT_HTTP"]
)
def test_a_mistake_is_refused_beside_the_links_to_a_service(monkeypatch, name):
    for variable, value in {**links_of("RBM", 8000), name: "8000"}.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(ValidationError, match=f"{name} is not a setting"):
        Settings()


@pytest.mark.parametrize("value", ["tcp://10.0.0.1", "http://10.0.0.1:80", "10.0.0.1:80", ""])
def test_what_looks_like_a_link_and_is_none_is_refused(monkeypatch, value):
    monkeypatch.setenv("RBM_X_PORT", value)
    with pytest.raises(ValidationError, match="RBM_X_PORT is not a setting"):
        Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RBM_DEVICE", "tpu"),
        ("RBM_PORT", "0"),
        ("RBM_MAX_BATCH_ROWS", "0"),
        ("RBM_LOG_FORMAT", "xml"),
        ("RBM_REQUEST_TIMEOUT_SECONDS", "0"),
        ("RBM_REQUEST_TIMEOUT_SECONDS", "inf"),
        ("RBM_DRAIN_SECONDS", "-1"),
        ("RBM_RELOAD_POLL_SECONDS", "nan"),
    ],
)
def test_a_value_outside_its_range_is_refused(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=name.removeprefix("RBM_").lower()):
        Settings()


def test_a_request_that_could_never_be_queued_is_refused():
    with pytest.raises(ValidationError, match="could never be queued"):
        Settings(max_request_rows=100, max_queued_rows=99)


def test_metrics_cannot_have_the_port_of_the_api():
    with pytest.raises(ValidationError, match="RBM_METRICS_PORT=8000"):
        Settings(metrics_port=8000)


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1


def test_every_setting_says_what_it_is():
    assert all(field.description for field in Settings.model_fields.values())


def test_several_models_may_be_named():
    assert Settings(model="cora, citeseer").model_names == ("cora", "citeseer")
    assert Settings().model_names == ()


@pytest.mark.parametrize("model", ["cora,", ",", "cora,,citeseer", "cora, cora"])
def test_names_of_models_that_are_empty_or_twice_are_refused(model):
    with pytest.raises(ValidationError, match="expected different names"):
        Settings(model=model)


def test_explicit_control_needs_somebody_who_has_the_key(tmp_path):
    with pytest.raises(ValidationError, match="needs RBM_ADMIN_KEY_FILE"):
        Settings(model_control="explicit")
    assert Settings(model_control="explicit", admin_key_file=tmp_path).model_control == "explicit"
