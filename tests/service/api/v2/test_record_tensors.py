import json
import struct

import numpy as np
import pytest

from rbm_bundle import read_bundle
from tests.bundles import RECORDS
from tests.classifying import classify, serve

BUNDLE = read_bundle(RECORDS)
INFER = "/v2/models/records/infer"
KNOWN = [row.record for row in BUNDLE.golden_records().rows[:6]]
IDS = {"name": "node_ids", "datatype": "INT64", "shape": [6], "data": [0, 1, 2, 3, 4, 5]}


@pytest.fixture(scope="module")
def records_client(tmp_path_factory):
    with serve(BUNDLE, tmp_path_factory.mktemp("models")) as client:
        yield client


def texts(field):
    """A field of the known records as strings."""
    values = [record[field] for record in KNOWN]
    return ["\n".join(value) if isinstance(value, list) else value or "" for value in values]


def strings(field):
    return {"name": f"records.{field}", "datatype": "BYTES", "shape": [6], "data": texts(field)}


def probabilities(answer):
    assert answer.status_code == 200, answer.text
    return np.reshape(answer.json()["outputs"][0]["data"], (-1, 2))


def test_fields_as_tensors_say_what_records_say(records_client):
    fields = ("section", "title", "tags", "when")
    wanted = classify(
        records_client,
        node_ids=IDS["data"],
        records=[{field: record[field] for field in fields} for record in KNOWN],
        return_probabilities=True,
    )
    found = records_client.post(INFER, json={"inputs": [IDS, *map(strings, fields)]})
    np.testing.assert_allclose(probabilities(found), [each["probabilities"] for each in wanted], atol=1e-6)


def test_numbers_come_as_floats_and_nan_is_a_missing_one(records_client):
    prices = np.array([record["price"] or np.nan for record in KNOWN], "<f4")
    title = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts("title"))
    inputs = [
        IDS,
        {"name": "records.price", "datatype": "FP32", "shape": [6], "parameters": {"binary_data_size": 24}},
        {
            "name": "records.title",
            "datatype": "BYTES",
            "shape": [6],
            "parameters": {"binary_data_size": len(title)},
        },
    ]
    head = json.dumps({"inputs": inputs}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    found = records_client.post(INFER, content=head + prices.tobytes() + title, headers=headers)
    wanted = classify(
        records_client,
        node_ids=IDS["data"],
        records=[{"price": record["price"], "title": record["title"]} for record in KNOWN],
        return_probabilities=True,
    )
    np.testing.assert_allclose(probabilities(found), [each["probabilities"] for each in wanted], atol=1e-5)


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        ({"name": "records.titel"}, "inputs: expected each of node_ids, "),
        ({"datatype": "FP32", "data": [1.0]}, "records.title: expected datatype BYTES, got FP32"),
        ({"name": "records.when", "data": ["soon"]}, "records[0].when: expected a date or time"),
        (
            {"shape": [2], "data": ["a", "b"]},
            "expected columns of one length, got node_ids of 1, records of 2",
        ),
    ],
)
def test_a_field_that_does_not_fit_is_refused(records_client, tensor, said):
    ids = {"name": "node_ids", "datatype": "INT64", "shape": [1], "data": [1]}
    given = {"name": "records.title", "datatype": "BYTES", "shape": [1], "data": ["x"], **tensor}
    answer = records_client.post(INFER, json={"inputs": [ids, given]})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(said)


def test_fields_of_different_lengths_are_refused(records_client):
    other = {"name": "records.section", "datatype": "BYTES", "shape": [1], "data": ["a"]}
    answer = records_client.post(INFER, json={"inputs": [strings("title"), other]})
    assert answer.json()["error"] == "inputs: expected fields of one length, got section of 1, title of 6"


def test_the_model_lists_its_fields(records_client):
    listed = {
        each["name"]: each["datatype"] for each in records_client.get("/v2/models/records").json()["inputs"]
    }
    assert (listed["records.price"], listed["records.tags"]) == ("FP32", "BYTES")
    config = records_client.get("/v2/models/records/config").json()
    assert all(each["optional"] for each in config["input"])
