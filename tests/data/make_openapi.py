"""Writes `openapi.json`, the interface as programs read it: `python -m tests.data.make_openapi`."""

import json
from pathlib import Path
from tempfile import NamedTemporaryFile

from rbm_service.app import create_app
from rbm_service.settings import Settings

SNAPSHOT = Path(__file__).with_name("openapi.json")
NOBODYS_KEY = "0" * 64


def openapi_text() -> str:
    """The document of a service that has an admin's key, without the version of the package."""
    with NamedTemporaryFile("w") as key:
        key.write(NOBODYS_KEY)
        key.flush()
        document = create_app(Settings(admin_key_file=Path(key.name))).openapi()
    document["info"]["version"] = "any"
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SNAPSHOT.write_text(openapi_text())
