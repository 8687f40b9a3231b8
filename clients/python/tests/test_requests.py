"""What is sent, and what is made of answers that the service does not give every day."""

from datetime import date
from decimal import Decimal

import httpx2
import numpy as np
import pytest

from clients.python.tests.scripted import ADDRESS, Script, client_of, info, predictions, problem
from rbm_client import (
    Client,
    InputError,
    InvalidAnswerError,
    NotFoundError,
    StatusError,
    TransportError,
    UnavailableError,
    UnknownModelError,
)


def sent(*, info_answer=None, **asked):
    """The bodies of a question."""
    script = Script(info_answer or info(), *[predictions(4)] * 10)
    with client_of(script) as client:
        client.classify(**asked)
    return script.bodies


def test_records_are_sent_in_place_of_features():
    records = [{"age": np.float32(0.5), "tags": ["a"]}, {"age": 3, "seen": True}]
    assert sent(records=records, neighbors=[[100, 105], None]) == [
        {
            "records": [{"age": 0.5, "tags": ["a"]}, {"age": 3, "seen": True}],
            "neighbors": [[100, 105], None],
        }
    ]


def test_options_are_sent_as_they_were_given_and_no_others():
    options = {"top_k": 2, "explain": True, "return_probabilities": False, "min_confidence": 0.5}
    assert sent(node_ids=["a"], model="tiny", version=1, **options) == [
        {"node_ids": ["a"], "model": "tiny", "version": 1, **options}
    ]
    assert sent(node_ids=np.array(["a", "b"])) == [{"node_ids": ["a", "b"]}]


def test_parts_of_a_long_question_ask_for_one_version():
    bodies = sent(node_ids=range(10), top_k=2)
    assert [body["node_ids"] for body in bodies] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert {(body["model"], body["version"], body["top_k"]) for body in bodies} == {("tiny", 1, 2)}


def test_where_nodes_may_be_unknown_the_version_that_is_known_is_asked_for():
    [body] = sent(node_ids=[100], on_unknown="null")
    assert body == {"node_ids": [100], "model": "tiny", "version": 1, "on_unknown": "null"}


def test_a_part_is_no_longer_than_a_body_may_be():
    records = [{"text": "x" * size} for size in (400, 400, 400, 5000, 1)]
    bodies = sent(info_answer=info(max_body_bytes=3000), records=records)
    assert [[len(record["text"]) for record in body["records"]] for body in bodies] == [
        [400, 400],
        [400],
        [5000],
        [1],
    ]


def test_the_key_the_path_of_a_proxy_and_the_names_of_models_are_in_the_request():
    script = Script(info())
    transport = httpx2.MockTransport(script)
    with Client(f"{ADDRESS}/models/", api_key="secret", transport=transport) as client:
        client.info("a b&c")
        with pytest.raises(InvalidAnswerError):
            client.rollback("a/b")
    assert [str(request.url) for request in script.requests] == [
        f"{ADDRESS}/models/info?model=a+b%26c",
        f"{ADDRESS}/models/admin/models/a%2Fb/rollback",
    ]
    assert {request.headers["x-api-key"] for request in script.requests} == {"secret"}


def test_records_may_be_as_a_table_has_them():
    record = {"price": Decimal("1.5"), "born": date(2024, 2, 29), "size": float("nan"), "name": "x"}
    [body] = sent(records=[record], neighbors=[[100]])
    assert body["records"] == [{"price": 1.5, "born": "2024-02-29", "size": None, "name": "x"}]


def test_a_question_follows_a_few_changes_of_version_and_no_more():
    gone = problem(404, "unknown_model")
    script = Script(info(1), gone, info(2), gone, info(3), predictions(4, version=3))
    with client_of(script) as client:
        assert client.classify(node_ids=[100]).model.version == 3
    restless = [answer for version in range(2, 20) for answer in (gone, info(version))]
    script = Script(info(1), *restless)
    with client_of(script) as client, pytest.raises(UnknownModelError):
        client.classify(node_ids=[100])
    assert script.paths.count("/classify") == 4


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (httpx2.Response(502, text="<html>no upstream</html>"), StatusError, "502: Bad Gateway"),
        (httpx2.Response(503, json=["x"]), UnavailableError, "503: Service Unavailable"),
        (httpx2.Response(302, headers={"Location": "/login"}), StatusError, "302: Found"),
        (httpx2.Response(799), StatusError, "799: an error without a description"),
        (problem(404, "not_found"), NotFoundError, "404 not_found: it went wrong"),
        (httpx2.Response(200, text="<html>"), InvalidAnswerError, "/info: found <html>; wanted"),
        (httpx2.Response(200, json={"model": 1}), InvalidAnswerError, "/info: found"),
        (httpx2.UnsupportedProtocol, TransportError, "as the test says"),
    ],
)
def test_whatever_answers_there_is_one_family_of_errors(answer, error, said):
    with (
        client_of(Script(answer, answer, answer, answer, answer)) as client,
        pytest.raises(error, match=said),
    ):
        client.info()


@pytest.mark.parametrize(
    "answer", [httpx2.Response(200, text="?"), httpx2.Response(200, json={"predictions": []})]
)
@pytest.mark.parametrize("binary", [True, False])
def test_an_answer_that_the_service_would_not_give_is_called_so(answer, binary):
    with client_of(Script(info(), answer)) as client, pytest.raises(InvalidAnswerError):
        client.classify(node_ids=[100], binary=binary)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "found no column; wanted one of node_ids"),
        (
            {"node_ids": [1, 2], "features": [[1.0]]},
            "found node_ids of 2, features of 1; wanted columns of one length",
        ),
        ({"node_ids": 5}, "node_ids: found int; wanted a list or an array of ids"),
        ({"node_ids": "abc"}, "node_ids: found str; wanted a list"),
        ({"node_ids": [1, "a"]}, "node_ids: found int, str; wanted ids that are all int or all str"),
        ({"node_ids": [1.5]}, "node_ids: found float"),
        ({"node_ids": [2**70], "binary": True}, "node_ids: found a number beyond 64 bits"),
        ({"neighbors": [[1], 2]}, r"neighbors\[1\]: found int"),
        ({"features": [1.0, 2.0]}, r"features: found shape \(2,\); wanted \(N, width\)"),
        ({"features": [[1.0], [2.0, 3.0]]}, "features: found .*; wanted rows of numbers, all of one length"),
        ({"features": [[1.0, float("nan")]]}, r"features\[0\]\[1\]: found nan; wanted a finite number"),
        ({"features": [["red"]]}, "features: found could not convert string to float"),
        ({"records": [{"age": 1}, "age"]}, r"records\[1\]: found str; wanted features by name"),
        ({"records": [{"age": float("inf")}]}, "records: found Out of range"),
        ({"records": [{"age": {1}}]}, "records: found a set; wanted what JSON can say"),
        ({"records": [{}], "binary": True}, "found binary with records"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_it_is_sent(asked, said):
    script = Script(info())
    with client_of(script) as client, pytest.raises(InputError, match=said):
        client.classify(**asked)
    assert "/classify" not in script.paths


def test_an_argument_that_there_is_not_is_named():
    with (
        client_of(Script(info())) as client,
        pytest.raises(TypeError, match="found argument 'nodes'; wanted node"),
    ):
        client.classify(nodes=[1])


@pytest.mark.parametrize("address", ["localhost:8000", "http://", "http://[::bad", "ftp://service"])
def test_an_address_that_is_none_is_refused_at_once(address):
    with pytest.raises(InputError, match=r"base_url: found .* wanted an address as"):
        Client(address)


@pytest.mark.parametrize("key", ["", "sécret", "secret\n"])
def test_a_key_that_is_none_is_refused_and_not_repeated(key):
    with pytest.raises(InputError, match=r"api_key: .*wanted printable ASCII") as caught:
        Client(ADDRESS, api_key=key)
    assert "cret" not in str(caught.value)
