"""A request of the Open Inference Protocol to the tiny model, and how a request is refused."""

from typing import Any

from starlette.testclient import TestClient

INFER = "/v2/models/tiny/infer"
IDS = {"name": "node_ids", "datatype": "INT64", "shape": [2], "data": [105, 100]}
BODY = {"inputs": [IDS]}


def refused(client: TestClient, status: int, path: str = INFER, **request: Any) -> str:
    """The reason in the answer, which has the protocol's form of an error."""
    answer = client.post(path, **request)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]
    return str(answer.json()["error"])
