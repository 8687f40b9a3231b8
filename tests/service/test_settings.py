from pathlib import Path

import pytest
from pydantic import ValidationError

from rbm_service.settings import Settings


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
    with pytest.raises(ValidationError, match="wanted different names"):
        Settings(model=model)


def test_explicit_control_needs_somebody_who_has_the_key(tmp_path):
    with pytest.raises(ValidationError, match="needs RBM_ADMIN_KEY_FILE"):
        Settings(model_control="explicit")
    assert Settings(model_control="explicit", admin_key_file=tmp_path).model_control == "explicit"
