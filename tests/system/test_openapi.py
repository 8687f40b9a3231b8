"""The interface as `/openapi.json` describes it: what it says is so, and it does not change unseen."""

import json

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig

from tests.bundles import repository_of
from tests.data.make_openapi import SNAPSHOT, openapi_text
from tests.keys import ADMIN_KEY, ADMIN_KEY_LINE
from tests.servers import running_server

CONFIG = SchemathesisConfig.from_dict(
    {
        "generation": {"max-examples": 10, "deterministic": True, "no-shrink": True, "database": "none"},
        "parameters": {"path.model": "tiny", "path.name": "tiny", "path.version": "1"},
        "checks": {
            # 503 and 504 are answers of a service under load; nothing else of ours begins with a 5.
            "not_a_server_error": {"expected-statuses": ["2xx", "4xx", "503", "504"]},
            # A schema cannot say that columns are of one length, that an id is known, how much is JSON, or
            # that there is a version to roll back to.
            "positive_data_acceptance": {"expected-statuses": ["2xx", "400", "404", "409", "422"]},
        },
    }
)
schema = schemathesis.openapi.from_dict(json.loads(SNAPSHOT.read_text()), config=CONFIG)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openapi")
    repository_of(folder / "models")
    (folder / "key").write_text(ADMIN_KEY_LINE)
    with running_server(folder / "models", folder / "log", admin_key_file=folder / "key") as running:
        yield running


@schema.parametrize()
def test_every_answer_is_as_described(case, server):
    case.call_and_validate(
        base_url=server.url, headers={"Authorization": f"Bearer {ADMIN_KEY}", "X-API-Key": ADMIN_KEY}
    )


def test_the_interface_is_the_one_on_record():
    assert SNAPSHOT.read_text() == openapi_text(), "if meant: python -m tests.data.make_openapi"
