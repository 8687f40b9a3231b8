"""Questions to a running service, in every form in which they can be put."""

import asyncio
from dataclasses import dataclass, fields, is_dataclass

import numpy as np
import pytest

from rbm_client import (
    NO_CLASS,
    NO_EXPERT,
    AsyncClient,
    InvalidRequestError,
    UnknownModelError,
    UnknownNodeError,
)
from tests.bundles import KNOWN_IDS
from tests.keys import ADMIN_KEY
from tests.servers import wait_until

pytestmark = pytest.mark.system

INFER = "/v2/models/{model}/versions/{version}/infer"
EVERYTHING = {"top_k": 2, "explain": True, "return_probabilities": True, "min_confidence": 0.5}


@dataclass
class Frame:
    """What the client asks of a DataFrame, a Series or an Index."""

    values: object

    def to_numpy(self):
        return np.asarray(self.values)


def assert_same(one, other):
    """All that two answers say, but for the names of the requests, to the last bit."""
    for field in fields(one):
        here, there = getattr(one, field.name), getattr(other, field.name)
        if is_dataclass(here) and field.name != "model":
            assert_same(here, there)
        elif isinstance(here, np.ndarray):
            assert here.dtype == there.dtype
            np.testing.assert_array_equal(here, there, strict=True)
        elif field.name != "request_ids":
            assert here == there, field.name


def logged_route(server, found):
    """Where a question was sent, by the log of the service, which follows a moment later."""
    lines = []

    def logged():
        lines[:] = [line for line in server.events("request") if line["request_id"] == found.request_ids[0]]
        return lines

    wait_until(logged, "the line of the request")
    return lines[0]["route"]


def test_known_nodes_are_classified_by_their_ids_alone(client, server):
    found = client.classify(node_ids=[105, 100])
    assert (found.model.name, found.model.version, len(found)) == ("tiny", 1, 2)
    assert found.node_ids == (105, 100)
    assert found.labels.tolist() == ["blue", "red"]
    assert found.class_index.tolist() == [2, 0]
    assert found.confidence == pytest.approx([0.517, 0.563], abs=1e-3)
    assert found.positions.tolist() == ["cached", "cached"]
    assert logged_route(server, found) == "/classify"
    assert (found.probabilities, found.top_k, found.abstained, found.experts) == (None,) * 4


def test_everything_that_can_be_asked_for_is_an_array(client):
    found = client.classify(node_ids=KNOWN_IDS, **{**EVERYTHING, "min_confidence": 0.6})
    assert found.probabilities.shape == (20, 3)
    np.testing.assert_array_equal(found.probabilities.max(axis=1), found.confidence)
    np.testing.assert_array_equal(found.top_k.probabilities, -np.sort(-found.probabilities)[:, :2])
    assert found.top_k.labels.shape == found.top_k.class_index.shape == (20, 2)
    np.testing.assert_array_equal(found.abstained, found.confidence < 0.6)
    assert (found.labels == None).tolist() == found.abstained.tolist()  # noqa: E711 - elementwise
    assert found.experts.experts.shape == found.experts.weights.shape == (20, 2, 2)
    assert found.experts.weights.sum(axis=2) == pytest.approx(1)


@pytest.mark.parametrize("options", [{}, EVERYTHING, {"min_confidence": 0.99}, {"top_k": 3}])
def test_bytes_and_json_give_the_same_answer_in_several_requests(client, many_ids, many_features, options):
    asked = {"node_ids": many_ids, "features": many_features, **options}
    in_bytes, as_json = client.classify(**asked), client.classify(**asked, binary=False)
    assert len(set(in_bytes.request_ids)) == len(set(as_json.request_ids)) == 4
    assert_same(in_bytes, as_json)


def test_rows_of_a_split_batch_keep_their_order(client, many_ids):
    whole = client.classify(node_ids=many_ids, return_probabilities=True)
    labels = dict(zip(KNOWN_IDS, client.classify(node_ids=KNOWN_IDS).labels, strict=True))
    assert whole.node_ids == tuple(many_ids)
    assert whole.labels.tolist() == [labels[node_id] for node_id in many_ids]


@pytest.mark.parametrize("shape", [list, np.asarray, np.float32, Frame], ids=lambda shape: shape.__name__)
@pytest.mark.parametrize("num_rows", [3, 70])
def test_features_and_ids_may_be_lists_arrays_or_frames(client, many_ids, many_features, shape, num_rows):
    ids, features = many_ids[:num_rows], many_features[:num_rows].astype(np.float32).tolist()
    expected = client.classify(node_ids=ids, features=features)
    wrapped = np.asarray(ids) if shape is np.float32 else shape(ids)
    assert_same(client.classify(node_ids=wrapped, features=shape(features)), expected)


def test_bytes_are_used_from_64_rows_of_features_on_or_when_asked(client, server, many_ids, many_features):
    def route_of(num_rows, **asked):
        return logged_route(server, client.classify(node_ids=many_ids[:num_rows], **asked))

    assert route_of(63, features=many_features[:63]) == "/classify"
    assert route_of(64, features=many_features[:64]) == INFER
    assert route_of(64) == "/classify"
    assert route_of(1, binary=True) == INFER


def test_positions_and_neighbors_say_where_nodes_are(client):
    features = np.ones((2, 12))
    near = client.classify(features=features, neighbors=[[100, 105], []])
    assert near.positions.tolist() == ["neighbors", "default"]
    assert near.node_ids is None
    mixed = client.classify(node_ids=[7, 100], features=features, neighbors=[np.array([100]), None])
    assert mixed.positions.tolist() == ["neighbors", "cached"]
    there = {"features": features, "positions": np.ones((2, 4))}
    assert client.classify(**there).positions.tolist() == ["supplied", "supplied"]
    assert_same(client.classify(**there, binary=True), client.classify(**there))


@pytest.mark.parametrize("num_rows", [2, 70])
def test_a_node_that_nobody_knows_is_named_in_either_form(client, many_features, num_rows):
    with pytest.raises(UnknownNodeError, match=f"{num_rows} unknown: 1, 1") as caught:
        client.classify(node_ids=[1] * num_rows, features=many_features[:num_rows])
    assert (caught.value.status, caught.value.code) == (404, "unknown_node")
    assert caught.value.request_id in str(caught.value)


@pytest.mark.parametrize("options", [{}, EVERYTHING, {"top_k": 3, "binary": False}])
@pytest.mark.parametrize("places", [[0, 1, 101], [*range(150)]])
def test_nodes_that_nobody_knows_have_no_answer_if_that_is_asked_for(
    client, many_ids, many_features, options, places
):
    others = np.delete(np.arange(333), places)
    ids = np.array(many_ids)
    known = client.classify(node_ids=ids[others], features=many_features[others], **options)
    ids[places] = 7
    found = client.classify(node_ids=ids, features=many_features, on_unknown="null", **options)
    assert np.flatnonzero(found.unknown).tolist() == places
    assert known.unknown is None
    assert (found.labels[places] == None).all()  # noqa: E711 - elementwise
    assert (found.positions[places] == None).all()  # noqa: E711 - elementwise
    assert set(found.class_index[places]) == {NO_CLASS}
    assert np.isnan(found.confidence[places]).all()
    for name in ("labels", "class_index", "confidence", "positions"):
        np.testing.assert_array_equal(getattr(found, name)[others], getattr(known, name), strict=True)


@pytest.mark.parametrize("num_unknown", [3, 150, 333])
def test_of_unknown_nodes_bytes_and_json_say_the_same(client, many_ids, many_features, num_unknown):
    asked = {"node_ids": [7] * num_unknown + many_ids[num_unknown:], "features": many_features}
    in_bytes = client.classify(**asked, on_unknown="null", **EVERYTHING)
    assert_same(in_bytes, client.classify(**asked, on_unknown="null", **EVERYTHING, binary=False))
    nothing = slice(num_unknown)
    assert np.isnan(in_bytes.probabilities[nothing]).all()
    assert np.isnan(in_bytes.top_k.probabilities[nothing]).all()
    assert set(in_bytes.top_k.labels[nothing].flat) == {None}
    assert set(in_bytes.experts.experts[nothing].flat) == {NO_EXPERT}
    assert not in_bytes.experts.weights[nothing].any()
    assert not in_bytes.abstained[nothing].any()


def test_what_the_service_refuses_is_told_with_its_place(client):
    with pytest.raises(InvalidRequestError, match=r"features.*\b12\b.*\b5\b") as caught:
        client.classify(node_ids=[100], features=[[1.0] * 5])
    assert (caught.value.status, caught.value.code) == (422, "validation")
    assert caught.value.details[0].loc[0] == "features"


@pytest.mark.parametrize(
    "wrong", [{"top_k": 4}, {"min_confidence": 2.0}, {"top_k": 0}, {"top_k": "2"}, {"on_unknown": "skip"}]
)
def test_what_one_form_refuses_the_other_refuses_in_the_same_words(client, many_ids, many_features, wrong):
    with pytest.raises(InvalidRequestError) as few:
        client.classify(node_ids=many_ids[:1], **wrong)
    with pytest.raises(InvalidRequestError) as many:
        client.classify(node_ids=many_ids, features=many_features, **wrong)
    assert (many.value.message, many.value.details) == (few.value.message, few.value.details)


def test_a_model_or_a_version_that_is_not_there_is_unknown(client, many_ids, many_features):
    for wrong in ({"model": "tini"}, {"version": 9}):
        for num_rows in (1, 70):
            with pytest.raises(UnknownModelError, match="in service: tiny 1"):
                client.classify(node_ids=many_ids[:num_rows], features=many_features[:num_rows], **wrong)


def test_tasks_that_share_a_client_get_their_own_answers(server, client, many_ids, many_features):
    async def ask():
        async with AsyncClient(server.url, api_key=ADMIN_KEY) as shared:
            spans = [slice(start, start + 70) for start in range(0, 200, 20)]
            asked = [shared.classify(node_ids=many_ids[s], features=many_features[s]) for s in spans]
            return zip(spans, await asyncio.gather(*asked), strict=True)

    for span, found in asyncio.run(ask()):
        assert_same(found, client.classify(node_ids=many_ids[span], features=many_features[span]))
