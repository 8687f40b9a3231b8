"""What a running service says of itself, and the commands of its admin."""

import asyncio

import pytest

from rbm_client import (
    AsyncClient,
    Client,
    ConflictError,
    ForbiddenError,
    ModelRef,
    NotFoundError,
    Retries,
    UnauthorizedError,
    UnavailableError,
    UnknownModelError,
)
from tests.bundles import KNOWN_IDS
from tests.keys import ADMIN_KEY, API_KEY
from tests.servers import find_free_port

pytestmark = pytest.mark.system

TINY = ModelRef("tiny", 1)


def test_info_tells_what_a_model_takes_and_how_much_of_it(client):
    info = client.info()
    assert (info.model, info.models, client.models()) == (TINY, (TINY,), (TINY,))
    assert info.labels == ("red", "green", "blue")
    assert (info.num_features, info.position_width, info.id_kind) == (12, 4, "integer")
    assert info.limits.max_request_rows == 100
    assert info.document["architecture"]["student"]
    assert client.info("tiny") == info


def test_a_service_is_ready_or_not_there(client):
    assert client.ready()
    with Client(f"http://127.0.0.1:{find_free_port()}") as nobody:
        assert not nobody.ready()


def test_a_key_is_needed_and_the_right_one(server):
    with Client(server.url) as nobody, pytest.raises(UnauthorizedError, match="401 unauthorized"):
        nobody.classify(node_ids=[100])
    with Client(server.url, api_key=API_KEY) as caller:
        assert len(caller.classify(node_ids=[100])) == 1
        with pytest.raises(ForbiddenError, match="403 forbidden"):
            caller.promote("tiny", 2)


def test_questions_follow_a_change_of_version_that_they_did_not_see(client, server, many_ids, many_features):
    asked = {"node_ids": many_ids, "features": many_features}
    with Client(server.url, api_key=API_KEY) as caller:
        assert caller.classify(**asked).model == TINY
        change = client.promote("tiny", 2)
        assert (change.model, change.former_version) == (ModelRef("tiny", 2), 1)
        assert caller.classify(**asked).model == caller.classify(**asked, binary=False).model == change.model
        with pytest.raises(UnknownModelError, match="version 1 of tiny is not in service"):
            caller.classify(**asked, version=1)
        assert client.rollback("tiny").model == TINY
        assert caller.classify(**asked, version=1).model == TINY
    assert client.reload("tiny").former_version == 1
    with pytest.raises(ConflictError, match="409 conflict"):
        client.rollback("tiny")


def test_a_model_is_taken_out_of_service_and_put_back(client, server):
    client.unload("tiny")
    assert [(row.name, row.version, row.state) for row in client.repository()] == [
        ("tiny", None, "UNAVAILABLE")
    ]
    assert not client.ready()
    with Client(server.url, api_key=API_KEY, retries=Retries(max_retries=0)) as caller:
        with pytest.raises(UnavailableError, match="503 warming") as caught:
            caller.classify(node_ids=[100])
        assert caught.value.retry_after_seconds == 1
    client.load("tiny")
    assert [(row.version, row.state) for row in client.repository()] == [(1, "READY")]
    with pytest.raises(UnknownModelError, match="404 unknown_model"):
        client.load("tini")
    with pytest.raises(NotFoundError):
        client.promote("../tiny", 1)


def test_everything_can_be_awaited(server):
    async def ask():
        async with AsyncClient(server.url, api_key=ADMIN_KEY) as client:
            assert await client.ready()
            assert (await client.info()).model == TINY
            assert await client.models() == (TINY,)
            assert len(await client.classify(node_ids=KNOWN_IDS)) == 20
            assert (await client.promote("tiny", 2)).former_version == 1
            assert (await client.rollback("tiny")).model == TINY
            assert (await client.reload("tiny")).model == TINY
            await client.unload("tiny")
            await client.load("tiny")
            assert [row.state for row in await client.repository()] == ["READY"]

    asyncio.run(ask())
