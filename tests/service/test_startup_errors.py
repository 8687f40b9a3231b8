"""What keeps the service from starting is told in one line."""

import json
import os
import socket
import subprocess

import pytest

from tests.bundles import repository_of
from tests.servers import SERVE
from tests.service.serve_command import environment, only_line, run
from tests.unread import full_disk, full_pipe, reader_gone

pytestmark = pytest.mark.system


def test_a_missing_model_ends_it_with_one_line_that_says_so(tmp_path):
    result = run(environment(tmp_path))
    assert result.returncode == 1
    line = only_line(result)
    assert line["level"] == "error"
    assert "expected a published model" in line["reason"]


@pytest.mark.parametrize("model", ["", "tiny"])
def test_a_missing_folder_of_models_is_named_with_its_setting(tmp_path, model):
    path = tmp_path / "nothing"
    result = run(environment(path, RBM_MODEL=model))
    assert result.returncode == 1
    assert only_line(result)["reason"] == f"{path}: expected a folder of models (RBM_MODELS_DIR), got none"


def test_a_flipped_bit_in_the_bundle_ends_it_with_one_line_that_names_the_file(tmp_path):
    repository_of(tmp_path)
    path = tmp_path / "tiny" / "1" / "student.grouped.onnx"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    result = run(environment(tmp_path))
    assert result.returncode == 1
    assert "student.grouped.onnx: expected sha256" in only_line(result)["reason"]


def test_cuda_that_is_not_there_ends_it_with_one_line(models_dir):
    result = run({**environment(models_dir, RBM_DEVICE="cuda"), "CUDA_VISIBLE_DEVICES": ""})
    assert result.returncode == 1
    assert only_line(result)["reason"].startswith("RBM_DEVICE=cuda, but")
    assert result.stdout == ""


def told_not_to_listen(result, host, port):
    """The reason for it."""
    line = json.loads(result.stderr.splitlines()[-1])
    before, _, reason = line["reason"].partition(": ")
    assert (result.returncode, line["event"]) == (1, "startup failed")
    assert before == f"cannot listen on RBM_HOST={host}, RBM_PORT={port}"
    return reason


def test_a_port_that_is_taken_ends_it_with_a_line_that_names_the_settings(models_dir):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = run(environment(models_dir, RBM_PORT=port))
    assert "address already in use" in told_not_to_listen(result, "127.0.0.1", port)


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "x" * 80, "192.0.2.1"])
def test_a_host_that_is_not_ours_ends_it_with_a_line_that_names_the_settings(models_dir, free_port, host):
    result = run(environment(models_dir, RBM_HOST=host, RBM_PORT=str(free_port)))
    assert told_not_to_listen(result, host, free_port)
    assert "Traceback" not in result.stderr


def test_a_port_for_metrics_that_is_taken_is_named(models_dir):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run(environment(models_dir, RBM_METRICS_PORT=str(port)))
    assert result.returncode == 1
    reason = only_line(result)["reason"]
    assert reason.startswith(f"/metrics cannot listen on 127.0.0.1:{port}: ")
    assert "Address already in use" in reason


@pytest.mark.parametrize("name", ["RBM_API_KEYS_FILE", "RBM_ADMIN_KEY_FILE"])
def test_keys_that_cannot_be_read_end_it_with_one_line_that_tells_no_secret(models_dir, tmp_path, name):
    path = tmp_path / "keys"
    missing = run(environment(models_dir, **{name: str(path)}))
    os.mkfifo(path)
    pipe = run(environment(models_dir, **{name: str(path)}))
    path.unlink()
    path.write_text("# ours\nopen-sesame\n")
    wrong = run(environment(models_dir, **{name: str(path)}))
    assert (missing.returncode, pipe.returncode, wrong.returncode) == (1, 1, 1)
    assert "No such file or directory" in only_line(missing)["reason"]
    assert only_line(pipe)["reason"] == f"[Errno 22] not a plain file: '{path}'"
    assert only_line(wrong)["reason"].startswith(f"{path}, line 2: expected ")
    assert "sesame" not in wrong.stderr + wrong.stdout


def test_wrong_settings_end_it_with_a_line_for_each(models_dir):
    wrong = {
        "RBM_DEVICE": ("tpu", "'cuda' or 'cpu'"),
        "RBM_PORT": ("http", "a whole number"),
        "RBM_METRICS_PORT": ("70000", "at most 65535"),
        "RBM_MAX_BATCH_ROWS": ("0", "at least 1"),
        "RBM_REQUEST_TIMEOUT_SECONDS": ("0", "more than 0"),
        "RBM_DRAIN_SECONDS": ("soon", "a number"),
        "RBM_HEADER_TIMEOUT_SECONDS": ("nan", "a number"),
        "RBM_ENGINE_TIMEOUT_SECONDS": ("NaN", "a number"),
        "RBM_RELOAD_POLL_SECONDS": ("inf", "a number"),
        "RBM_ROOT_PATH": ("rbm", "a prefix as in /rbm"),
        "RBM_OTLP_ENDPOINT": ("collector", "an address as in http://collector:4318"),
    }
    result = run(environment(models_dir, **{name: value for name, (value, _) in wrong.items()}))
    assert result.returncode == 2
    first, *lines = result.stderr.splitlines()
    assert first == "rbm-serve: these settings are wrong:"
    told = [f"  {name}: expected {expected}, got {value}" for name, (value, expected) in wrong.items()]
    assert sorted(lines) == sorted(told)


def test_an_unknown_setting_ends_it_by_name(models_dir):
    result = run(environment(models_dir, RBM_PROT="8000"))
    assert result.returncode == 2
    assert "RBM_PROT is not a setting (did you mean RBM_PORT?)" in result.stderr


@pytest.mark.parametrize("stderr", [reader_gone, full_pipe, full_disk])
@pytest.mark.parametrize(("arguments", "port"), [([], "http"), (["--new-key", "a b"], "8000")])
def test_an_error_that_nobody_reads_ends_it_all_the_same(tmp_path, stderr, arguments, port):
    env = environment(tmp_path, RBM_PORT=port)
    with stderr() as unread:
        assert subprocess.run([*SERVE, *arguments], env=env, stderr=unread, timeout=60).returncode == 2


def test_a_kubernetes_service_of_the_same_name_changes_nothing_but_a_line_of_the_log(tmp_path):
    links = {"RBM_PORT": "tcp://10.0.0.1:8000", "RBM_SERVICE_HOST": "10.0.0.1", "RBM_SERVICE_PORT": "8000"}
    result = run(environment(tmp_path, **links))
    first, last = (json.loads(line) for line in result.stderr.splitlines())
    assert first["variables"] == sorted(links)
    assert (result.returncode, last["event"]) == (1, "startup failed")  # there is no model
