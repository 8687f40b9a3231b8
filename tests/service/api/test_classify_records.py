import json
import re
from pathlib import Path

import numpy as np
import pytest

from rbm_bundle import read_bundle
from rbm_service.api.inference import MAX_RECORD_BYTES_ON_LOOP
from tests.bundles import RECORDS
from tests.classifying import classify, refused, serve

BUNDLE = read_bundle(RECORDS)
GOLDEN = BUNDLE.golden_records()
MISSING = "features: these or records are required: no cached node features for 1 of the rows (0)"
KNOWN = [row.record for row in GOLDEN.rows[:5]]
NEW = {"title": "数据 CELL and a word never seen", "section": "never", "tags": ["graph", "?"], "year": None}


@pytest.fixture(scope="module")
def records_client(tmp_path_factory):
    with serve(BUNDLE, tmp_path_factory.mktemp("models")) as client:
        yield client


def probabilities(client, **body):
    found = classify(client, return_probabilities=True, **body)
    return np.array([prediction["probabilities"] for prediction in found])


def test_a_record_says_what_its_features_say(records_client):
    features = GOLDEN.features(BUNDLE.manifest.features.num_features)[:5]
    places = {"positions": BUNDLE.nodes.positions[:5].tolist()}
    np.testing.assert_allclose(
        probabilities(records_client, records=KNOWN, **places),
        probabilities(records_client, features=features.tolist(), **places),
        atol=1e-6,
    )


def test_a_node_never_seen_is_classified_by_its_record_and_neighbours(records_client):
    [found] = classify(records_client, records=[NEW], neighbors=[[1, 2]])
    assert (found["position"], found["node_id"]) == ("neighbors", None)
    assert found["label"] in BUNDLE.manifest.labels


def test_a_record_wins_over_the_features_of_a_known_node(records_client):
    cached, own = (probabilities(records_client, node_ids=[3], **more) for more in ({}, {"records": [NEW]}))
    assert (cached != own).any()


def test_an_empty_record_and_one_of_nulls_are_answered_alike(records_client):
    found = probabilities(records_client, node_ids=[3, 3], records=[{}, dict.fromkeys(NEW)])
    assert (found[0] == found[1]).all()


def test_many_records_are_read_in_a_thread_and_answered_alike(records_client, monkeypatch):
    body = {"records": [NEW, *KNOWN] * 50, "node_ids": [1] * 300}
    assert len(json.dumps(body)) > MAX_RECORD_BYTES_ON_LOOP
    found = probabilities(records_client, **body)
    np.testing.assert_allclose(
        found[:6], probabilities(records_client, records=[NEW, *KNOWN], node_ids=[1] * 6)
    )
    long = {**body, "records": [{**NEW, "title": f"cell {'x ' * 300}"}] * 300}
    assert len(json.dumps(long)) > 64 * 1024
    assert len(set(map(tuple, probabilities(records_client, **long)))) == 1


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"records": [{"titel": "x"}]}, "records[0].titel: unknown field (did you mean title?)"),
        ({"records": [{"title": 7}]}, "records[0].title: expected a string, got 7"),
        (
            {"records": [{"when": "soon"}]},
            "records[0].when: expected a date or time as in ISO 8601, got 'soon'",
        ),
        ({"records": [{}], "features": [[0.0] * 32]}, "give features or records, not both"),
        ({"records": [{}, {}]}, "expected columns of one length, got node_ids of 1, records of 2"),
        ({"records": []}, "expected columns of one length, got node_ids of 1, records of 0"),
        ({"records": [7]}, "records[0]: expected an object, got 7"),
        ({"node_ids": None, "neighbors": [[1]]}, MISSING),
        ({"records": {"title": "x"}}, "records: expected a list, got an object"),
        ({"record": [{}]}, "record: unknown key (did you mean records?)"),
    ],
)
def test_a_record_that_does_not_fit_is_refused_with_its_place(records_client, body, detail):
    assert refused(records_client, 422, "validation", json={"node_ids": [1], **body})["detail"] == detail


def test_more_records_than_a_request_may_have_are_counted_before_they_are_read(records_client):
    body = b'{"records": [' + b"{}," * 50_000 + b"{}]}"
    problem = refused(
        records_client, 422, "validation", content=body, headers={"content-type": "application/json"}
    )
    assert problem["detail"] == "records: expected 1 to 1024 rows, got 50000"


def test_braces_in_a_long_text_are_no_records(records_client):
    text = "{" * 2000 + '"\\' + "x" * 60_000
    classify(records_client, records=[{"title": text}, {"section": text}], node_ids=[1, 2])


def test_a_model_of_numbers_takes_no_records(client):
    problem = refused(client, 422, "validation", json={"node_ids": [100], "records": [{}]})
    assert problem["detail"] == "records: this model takes no records, but features"


def test_the_model_says_which_records_it_takes(records_client, client):
    columns = records_client.get("/info").json()["records"]["columns"]
    shown = [(column["name"], column["kind"], column["num_features"]) for column in columns]
    assert shown[:4] == [
        ("year", "number", 2),
        ("price", "number", 2),
        ("open", "number", 2),
        ("section", "category", 4),
    ]
    assert [column["names"] for column in columns if column["kind"] == "category"] == [["a", "b", "c"]]
    assert client.get("/info").json()["records"] is None


def test_the_page_shows_a_real_answer(records_client):
    page = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
    [(body, answer)] = re.findall(r"-d '(\{\n  \"records\".*?)'\n```\n\n```text\n(.*?)```", page, re.DOTALL)
    found = records_client.post(
        "/classify", content=body, headers={"content-type": "application/json"}
    ).json()
    [prediction] = found["predictions"]
    prediction["confidence"] = round(prediction["confidence"], 3)
    assert found == json.loads(answer)
