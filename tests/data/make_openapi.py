"""Writes `openapi.json`, the interface as programs read it: `python -m tests.data.make_openapi`."""

import json
from pathlib import Path

from rbm_service.app import create_app
from rbm_service.settings import Settings

SNAPSHOT = Path(__file__).with_name("openapi.json")


def openapi_text() -> str:
    """The document of a service with default settings, without the version of the package."""
    document = create_app(Settings()).openapi()
    document["info"]["version"] = "any"
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SNAPSHOT.write_text(openapi_text())
