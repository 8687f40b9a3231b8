"""Models whose nodes have other names, or no positions; the service runs on the loop of the test."""

import asyncio

import httpx2
import numpy as np
import pytest

from rbm_bundle import read_bundle
from rbm_client import AsyncClient, InvalidRequestError
from rbm_service.app import create_app
from rbm_service.settings import Settings
from tests.bundles import STRING_IDS, TINY, repository_of, with_string_ids, without_positions

FEATURES = np.random.default_rng(0).random((20, 12))


def ask(folder, models_dir, question):
    """What a client of a service for one bundle gets to know."""
    repository_of(models_dir, folder)

    async def asked():
        app = create_app(Settings(models_dir=models_dir, device="cpu", max_request_rows=6))
        transport = httpx2.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            AsyncClient("http://service", transport=transport) as client,
        ):
            return await question(client)

    return asyncio.run(asked())


def test_ids_that_are_strings_go_as_bytes_too(tmp_path):
    bundle = with_string_ids(read_bundle(TINY), tmp_path / "bundle")

    async def question(client):
        asked = {"node_ids": np.array(STRING_IDS), "features": FEATURES, "return_probabilities": True}
        with pytest.raises(InvalidRequestError, match="node_ids: expected datatype BYTES, got INT64"):
            await client.classify(node_ids=[1], binary=True)
        return await client.classify(**asked), await client.classify(**asked, binary=True)

    as_json, in_bytes = ask(bundle.path, tmp_path / "models", question)
    assert in_bytes.node_ids == as_json.node_ids == tuple(STRING_IDS)
    np.testing.assert_array_equal(in_bytes.probabilities, as_json.probabilities)


def test_a_model_without_positions_needs_no_ids_in_either_form(tmp_path):
    bundle = without_positions(read_bundle(TINY), tmp_path / "bundle")

    async def question(client):
        return [await client.classify(features=FEATURES, binary=binary) for binary in (False, True)]

    as_json, in_bytes = ask(bundle.path, tmp_path / "models", question)
    assert in_bytes.positions.tolist() == as_json.positions.tolist() == ["default"] * 20
    assert in_bytes.labels.tolist() == as_json.labels.tolist()
