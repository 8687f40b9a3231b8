"""The command `rbm-serve`, in a process of its own."""

import contextlib
import json
import os
import subprocess

from tests.servers import SERVE, wait_until_ready


def environment(models_dir, **settings):
    return {
        **os.environ,
        "RBM_MODELS_DIR": str(models_dir),
        "RBM_DEVICE": "cpu",
        "RBM_MAX_BATCH_ROWS": "4",
        **settings,
    }


def run(env, *arguments):
    return subprocess.run([*SERVE, *arguments], env=env, capture_output=True, text=True, timeout=60)


@contextlib.contextmanager
def started(env, command=SERVE):
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    process.url = f"http://127.0.0.1:{env['RBM_PORT']}"
    try:
        wait_until_ready(process.url, process)
        yield process
    finally:
        process.kill()
        process.communicate()


def only_line(result):
    (line,) = result.stderr.splitlines()
    return json.loads(line)
