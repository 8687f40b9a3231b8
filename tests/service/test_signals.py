"""Signals before the server takes them over, to an ordinary process and to process 1 of a container."""

import os
import subprocess
import sys

import pytest

LIGHT = """
import signal, sys
before = signal.getsignal(signal.SIGTERM)
import rbm_service.__main__
print([name for name in ("numpy", "pydantic", "uvicorn", "onnxruntime") if name in sys.modules])
print(signal.getsignal(signal.SIGTERM) is before)
"""
AT_AN_IMPORT = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), int(sys.argv[2]))

sys.meta_path.insert(0, Finder())
from rbm_service.__main__ import main
sys.exit(main([]))
"""
WHILE_A_MODEL_LOADS = """
import os, signal, sys, time
import onnxruntime

def load(*arguments, **options):
    os.kill(os.getpid(), int(sys.argv[2]))
    time.sleep(3600)

onnxruntime.InferenceSession = load
from rbm_service.__main__ import main
sys.exit(main([]))
"""
pytestmark = pytest.mark.system
AS_PROCESS_1 = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


@pytest.fixture(params=[[], AS_PROCESS_1], ids=["an ordinary process", "process 1"])
def run(request, models_dir):
    """Run a program and return how it ended."""
    if request.param and subprocess.run([*request.param, "true"], capture_output=True).returncode:
        pytest.skip("this user may make no namespace of processes")
    env = {**os.environ, "RBM_MODELS_DIR": str(models_dir), "RBM_DEVICE": "cpu", "RBM_METRICS_PORT": "8000"}

    def run_program(program, *arguments, **settings):
        command = [*request.param, sys.executable, "-c", program, *map(str, arguments)]
        result = subprocess.run(command, env=env | settings, capture_output=True, text=True, timeout=60)
        return result.returncode, result.stderr

    return run_program


def test_importing_the_entry_brings_nothing_heavy_and_changes_nothing():
    result = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["[]", "True"]


# Were it ignored, the settings would be looked at: they are wrong, which is 2.
@pytest.mark.parametrize("module", ["rbm_service.command", "numpy", "pydantic", "onnxruntime", "uvicorn"])
def test_sigterm_during_the_imports_is_obeyed(run, module):
    assert run(AT_AN_IMPORT, module, 15) == (0, "")


def test_sigint_during_the_imports_is_obeyed(run):
    assert run(AT_AN_IMPORT, "numpy", 2) == (0, "")


def test_sighup_during_the_imports_changes_nothing(run):
    exit_code, text = run(AT_AN_IMPORT, "numpy", 1)
    assert exit_code == 2
    assert "RBM_METRICS_PORT" in text


def test_sigterm_while_a_model_is_loaded_does_not_wait_for_it(run):
    assert run(WHILE_A_MODEL_LOADS, "", 15, RBM_METRICS_PORT="")[0] == 0


A_SECOND_SIGNAL = """
import os, signal, sys, time
from rbm_service.web.server import Server
import uvicorn

server = Server(uvicorn.Config(None), None, 60)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, server.handle_exit)
for number in sys.argv[1:]:
    os.kill(os.getpid(), int(number))
    time.sleep(0.01)
"""


@pytest.mark.parametrize(("first", "second"), [(15, 15), (15, 2), (2, 15), (2, 2)])
def test_a_second_signal_ends_it_as_the_signal_would(run, first, second):
    assert run(A_SECOND_SIGNAL, first) == (0, "")
    assert run(A_SECOND_SIGNAL, first, second) in [(-second, ""), (128 + second, "")]
