"""`rbm-serve --new-key`: where the key is shown, and what happens when it cannot be."""

import hashlib
import os
import shlex
import subprocess

import pytest

from tests.servers import SERVE
from tests.service.serve_command import environment, run

pytestmark = pytest.mark.system


def test_a_new_key_is_told_on_stderr_and_its_line_on_stdout():
    api, admin = (run({**os.environ, "RBM_PORT": "x"}, "--new-key", name) for name in ("web", "admin"))
    assert (api.returncode, admin.returncode) == (0, 0)
    secret = api.stderr.splitlines()[1]
    assert api.stdout == f"web {hashlib.sha256(secret.encode()).hexdigest()}\n"
    secret = admin.stderr.splitlines()[1]
    assert admin.stdout == f"{hashlib.sha256(secret.encode()).hexdigest()}\n"
    assert "RBM_ADMIN_KEY_FILE" in admin.stderr


@pytest.mark.parametrize("name", ["web", "admin"])
@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", "| :"])
def test_a_new_key_whose_line_is_lost_is_not_shown(name, redirection):
    command = f"set -o pipefail; {shlex.join(SERVE)} --new-key {name} {redirection}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    (told,) = result.stderr.splitlines()
    assert told.startswith("rbm-serve: the key cannot be written: ")


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_a_new_key_that_cannot_be_shown_is_an_error(redirection):
    command = f"{shlex.join(SERVE)} --new-key web {redirection}"
    assert subprocess.run(["bash", "-c", command], capture_output=True, timeout=60).returncode == 1


@pytest.mark.parametrize("name", ["", "a b", "#", "x" * 33, "caf\xe9"])
def test_a_name_that_no_file_of_keys_could_hold_is_refused(models_dir, name):
    result = run(environment(models_dir), "--new-key", name)
    assert (result.returncode, result.stdout) == (2, "")
    assert "--new-key" in result.stderr
