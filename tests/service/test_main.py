"""`rbm-serve` answers, stops when it is told to, and explains itself."""

import json
import os
import signal
import sys
import urllib.error
import urllib.request

import pytest

from rbm_bundle.version import package_version
from rbm_service.settings import Settings
from rbm_service.web.api_keys import new_key
from tests.bundles import TINY, repository_of
from tests.servers import wait_until
from tests.service.serve_command import environment, run, started


@pytest.fixture
def server(models_dir, free_port):
    with started(environment(models_dir, RBM_PORT=str(free_port))) as process:
        yield process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_and_stops_when_it_is_told_to(server, number):
    request = urllib.request.Request(
        f"{server.url}/classify", b'{"node_ids": [100]}', {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["predictions"][0]["node_id"] == 100
    server.send_signal(number)
    _, log = server.communicate(timeout=30)
    assert server.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert "Traceback" not in log
    assert any(line["event"] == "model loaded" and line["model"] == "tiny" for line in lines)
    assert any(line["event"] == "request" and line["route"] == "/classify" for line in lines)


WITH_A_DISK_THAT_HANGS = """
import sys, time
from rbm_service.command import run
from rbm_service.web import api_keys

def read(path, max_bytes, read=api_keys.read_small_file):
    while path.with_name("hanging").exists():
        time.sleep(0.01)
    return read(path, max_bytes)

api_keys.read_small_file = read
sys.exit(run([]))
"""


def test_a_disk_that_hangs_while_keys_are_read_anew_stops_nothing(tmp_path, free_port):
    repository = repository_of(tmp_path / "models")  # of its own: it is written to
    secret, line = new_key("web")
    keys, hanging = tmp_path / "keys", tmp_path / "hanging"
    keys.write_text(line)
    env = environment(
        repository.root, RBM_PORT=str(free_port), RBM_API_KEYS_FILE=str(keys), RBM_RELOAD_POLL_SECONDS="0"
    )
    with started(env, [sys.executable, "-c", WITH_A_DISK_THAT_HANGS]) as server:
        hanging.touch()
        keys.write_text("nonsense")
        repository.promote("tiny", repository.publish(TINY))
        server.send_signal(signal.SIGHUP)
        wait_until(lambda: info(server, secret)["model"]["version"] == 2, "the end of the signal's handler")
        hanging.unlink()
        while "keys refused, the old ones stay" not in server.stderr.readline():
            pass
        assert info(server, secret)["model"]["version"] == 2
        hanging.touch()
        server.send_signal(signal.SIGHUP)
        server.send_signal(signal.SIGTERM)  # nothing waits for the disk
        assert server.wait(60) == 0


def info(server, secret):
    request = urllib.request.Request(f"{server.url}/info", headers={"X-API-Key": secret})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_the_version_is_told():
    result = run(dict(os.environ), "--version")
    assert (result.returncode, result.stdout) == (0, f"rbm-serve {package_version()}\n")


def test_help_tells_every_setting_with_its_meaning_and_default(models_dir):
    result = run(environment(models_dir), "--help")
    assert result.returncode == 0
    for name, field in Settings.model_fields.items():
        assert f"RBM_{name.upper()}" in result.stdout
        assert field.description.split()[0] in result.stdout
    assert "RBM_MAX_BATCH_ROWS (default: 1024)" in result.stdout
