"""Connections are written against one version of uvicorn; another one has to be read first."""

import re
import tomllib
from pathlib import Path

import uvicorn

ROOT = Path(__file__).parents[3]
ADVICE = (
    "connection.py, request_context.py and server.py build on uvicorn {pinned}, got {found}: compare its "
    "httptools_impl.py and server.py with what they override, then pin it, in constraints.txt, too"
)


def test_uvicorn_is_the_version_that_the_connection_is_written_against():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (pinned,) = re.findall(r"uvicorn\[standard\]==([0-9.]+)", " ".join(extras["service"]))
    assert uvicorn.__version__ == pinned, ADVICE.format(pinned=pinned, found=uvicorn.__version__)
    assert f"uvicorn=={pinned}\n" in (ROOT / "constraints.txt").read_text()
