"""What /classify answers."""

import asyncio
import re
import threading

import pytest
from starlette.testclient import TestClient

from rbm_bundle import ModelRepository
from rbm_service.api import classify as classify_route
from rbm_service.app import create_app
from rbm_service.settings import Settings
from tests.bundles import (
    STRING_IDS,
    TINY,
    repository_of,
    sparsified,
    with_sparse_features,
    with_string_ids,
    without_positions,
)
from tests.classifying import asking, classify, refused, serve

FEATURES = [0.5] * 12
POSITION = [1.0, -1.0, 0.25, 0.0]


def test_known_ids_alone_are_classified(client, engine, bundle):
    answer = client.post("/classify", json={"node_ids": [105, 100]})
    assert answer.json()["model"] == {"name": "tiny", "version": 1}
    model_inputs = {"features": bundle.nodes.features[[1, 0]], "positions": bundle.nodes.positions[[1, 0]]}
    expected = engine.run(model_inputs, ("probabilities",))["probabilities"]
    for prediction, row in zip(answer.json()["predictions"], expected, strict=True):
        assert prediction["class_index"] == row.argmax()
        assert prediction["confidence"] == pytest.approx(row.max())
        assert prediction["label"] == bundle.manifest.labels[row.argmax()]
    assert [prediction["node_id"] for prediction in answer.json()["predictions"]] == [105, 100]


def serve_two(root, **settings):
    repository = ModelRepository(root)
    for name in ("one", "other"):
        repository.promote(name, repository.publish(TINY, name))
    return TestClient(create_app(Settings(models_dir=root, device="cpu", max_batch_rows=4, **settings)))


def test_a_request_is_answered_by_the_model_that_it_names_else_by_the_first(tmp_path):
    with serve_two(tmp_path, model="other,one") as client:
        asked = [{}, {"model": "one"}, {"model": "other"}, {"model": "one", "version": 1}, {"version": 1}]
        answers = [client.post("/classify", json={"node_ids": [100], **names}).json() for names in asked]
        assert [answer["model"]["name"] for answer in answers] == ["other", "one", "other", "one", "other"]
        for name, num_rows in (("one", 2), ("other", 3)):
            labels = {"model_name": name, "result": "cached"}
            value = client.app.app_state.metrics.registry.get_sample_value
            assert value("rbm_position_lookups_total", labels) == num_rows


def test_a_model_or_version_that_is_not_in_service_is_404_with_those_that_are(tmp_path):
    with serve_two(tmp_path, model="one,other") as client:
        for names in ({"model": "third"}, {"model": "one", "version": 2}, {"version": 7}):
            problem = refused(client, 404, "unknown_model", json={"node_ids": [100], **names})
            assert "in service: one 1, other 1" in problem["detail"]


def test_while_a_long_body_is_read_others_are_answered(settings, monkeypatch):
    entered, opened, read = threading.Event(), threading.Event(), classify_route.read_long

    def read_slowly(*arguments):
        entered.set()
        assert opened.wait(30)
        return read(*arguments)

    async def scenario():
        app = create_app(settings)
        async with asking(app) as client:
            body = b'{"node_ids": [100]}' + b" " * classify_route.MAX_BYTES_ON_LOOP
            headers = {"Content-Type": "application/json"}
            reading = asyncio.create_task(client.post("/classify", content=body, headers=headers))
            await asyncio.to_thread(entered.wait, 30)
            meanwhile = [await client.get("/livez"), await client.post("/classify", json={"node_ids": [105]})]
            opened.set()
            return [*meanwhile, await reading]

    monkeypatch.setattr(classify_route, "read_long", read_slowly)
    assert [answer.status_code for answer in asyncio.run(scenario())] == [200, 200, 200]


@pytest.mark.parametrize(
    ("num_rows", "options", "elsewhere"),
    [
        (1, {}, False),
        (64, {}, False),
        (64, {"top_k": 3, "return_probabilities": True}, True),
        (1, {"top_k": 3, "explain": True}, False),
    ],
)
def test_an_answer_of_many_values_is_written_off_the_event_loop_in_parts(
    client, monkeypatch, num_rows, options, elsewhere
):
    monkeypatch.setattr(classify_route, "MAX_VALUES_ON_LOOP", 512)
    threads, write_answer = [], classify_route.write_answer

    def watched(*arguments):
        threads.append(threading.current_thread().name)
        return write_answer(*arguments)

    monkeypatch.setattr(classify_route, "write_answer", watched)
    predictions = classify(client, node_ids=[100] * num_rows, **options)
    assert len(predictions) == num_rows
    assert predictions == classify(client, node_ids=[100], **options) * num_rows
    assert threads[0].startswith("rbm-long-work") == elsewhere


def test_every_row_says_where_its_position_came_from(client):
    predictions = classify(
        client, node_ids=[100, 1, 2], neighbors=[None, [100, 3], [3]], features=[FEATURES] * 3
    )
    assert [prediction["position"] for prediction in predictions] == ["cached", "neighbors", "default"]
    supplied = classify(client, positions=[POSITION], features=[FEATURES])
    assert supplied[0]["position"] == "supplied"
    assert supplied[0]["node_id"] is None


def test_an_answer_holds_what_was_asked_for_and_nothing_else(client):
    plain = classify(client, node_ids=[100])[0]
    assert set(plain) == {"node_id", "label", "class_index", "confidence", "position"}
    full = classify(
        client, node_ids=[100], top_k=3, explain=True, return_probabilities=True, min_confidence=1.0
    )[0]
    assert set(full) - set(plain) == {"top_k", "probabilities", "abstained", "experts"}
    assert full["label"] is None
    assert full["abstained"] is True
    assert sum(full["probabilities"]) == pytest.approx(1)
    assert full["top_k"][0]["class_index"] == full["class_index"]
    assert len(full["experts"]) == 2 * 2
    for layer in (0, 1):
        weights = [expert["weight"] for expert in full["experts"] if expert["layer"] == layer]
        assert sum(weights) == pytest.approx(1)


def test_a_model_with_string_ids_answers_by_string(bundle, tmp_path):
    with serve(with_string_ids(bundle, tmp_path / "strings"), tmp_path / "models") as client:
        assert classify(client, node_ids=STRING_IDS[:1])[0]["node_id"] == "node-100"
        refused(client, 422, "validation", json={"node_ids": [100]})


def test_a_model_without_positions_answers(bundle, tmp_path):
    with serve(without_positions(bundle, tmp_path / "linear"), tmp_path / "models") as client:
        assert classify(client, features=[FEATURES], explain=True)[0]["position"] == "default"
        assert classify(client, node_ids=[100])[0]["node_id"] == 100


def as_csr(rows):
    indices = [[column for column, value in enumerate(row) if value] for row in rows]
    return {
        "indptr": [sum(map(len, indices[:row])) for row in range(len(rows) + 1)],
        "indices": [column for row in indices for column in row],
        "values": [value for row in rows for value in row if value],
    }


def test_features_may_come_dense_or_in_compressed_rows_to_a_dense_model(client):
    rows = [[0.0] * 6 + [0.5] * 6, [0.0] * 12, FEATURES]
    ids = [100, 105, 110]
    dense = classify(client, node_ids=ids, features=rows)
    assert classify(client, node_ids=ids, features=as_csr(rows)) == dense


def test_features_may_come_dense_or_in_compressed_rows_to_a_sparse_model(bundle, tmp_path):
    with serve(with_sparse_features(bundle, tmp_path / "sparse"), tmp_path / "models") as client:
        rows = sparsified(bundle.nodes.features)[:6].tolist()
        assert not any(rows[0])
        cached = classify(client, node_ids=[100, 105, 110, 115, 120, 125])
        for features in (rows, as_csr(rows)):  # more rows than fit in one batch
            answers = classify(client, features=features)
            assert [row["confidence"] for row in answers] == [row["confidence"] for row in cached]
        empty = {"indptr": [0, 0, 0], "indices": []}
        assert [row["confidence"] for row in classify(client, features=empty)] == pytest.approx([1 / 3] * 2)


def test_requests_of_different_width_to_a_sparse_model_share_a_batch(bundle, tmp_path):
    """Whoever waits while the engine is busy runs together, padded to the widest."""
    sparse = with_sparse_features(bundle, tmp_path / "sparse")
    repository_of(tmp_path / "models", sparse.path)
    app = create_app(Settings(models_dir=tmp_path / "models", device="cpu"))
    ids = [100, 105, 110, 115]

    async def scenario():
        async with asking(app) as client:
            together = await asyncio.gather(*(client.post("/classify", json={"node_ids": [i]}) for i in ids))
            executions = app.app_state.metrics.registry.get_sample_value(
                "rbm_inference_executions_total", {"model_name": "tiny", "model_version": "1"}
            )
            alone = [await client.post("/classify", json={"node_ids": [i]}) for i in ids]
            return together, executions, alone

    together, executions, alone = asyncio.run(scenario())
    assert executions < len(ids)
    assert [answer.json() for answer in together] == [answer.json() for answer in alone]


def test_the_stages_are_timed_in_a_header(client):
    header = client.post("/classify", json={"node_ids": [100]}).headers["server-timing"]
    names = ["parse", "position_lookup", "queue", "inference", "serialize", "total"]
    assert re.fullmatch(", ".join(rf"{name};dur=\d+\.\d+" for name in names), header)


def test_the_counters_tell_what_happened(client):
    classify(client, node_ids=[100, 105], min_confidence=1.0)
    classify(client, node_ids=[100, 1], neighbors=[None, [105]], features=[FEATURES] * 2)
    classify(client, positions=[POSITION], neighbors=[[100]], features=[FEATURES])
    classify(client, neighbors=[[1]], features=[FEATURES])
    refused(client, 404, "unknown_node", json={"node_ids": [1, 2, 100]})
    refused(client, 422, "validation", json={"node_ids": []})
    refused(client, 415, "unsupported_media_type", content=b"", headers={"Content-Type": "text/plain"})

    def value(name, **labels):
        return client.app.app_state.metrics.registry.get_sample_value(name, labels)

    model = {"model_name": "tiny", "model_version": "1"}
    assert value("rbm_inference_requests_total", **model) == 4
    assert value("rbm_inference_rows_total", **model) == 6
    assert value("rbm_inference_executions_total", **model) == 4
    assert value("rbm_batch_rows_sum", model_name="tiny") == 6
    assert value("rbm_abstained_total", **model) == 2
    assert value("rbm_inference_failures_total", reason="validation") == 3
    positions = {"cached": 3, "neighbors": 1, "supplied": 1, "default": 1, "missing": 2}
    name = {"model_name": "tiny"}
    found = {result: value("rbm_position_lookups_total", result=result, **name) for result in positions}
    assert found == positions
    for layer in "01":
        selected = [
            value("rbm_expert_selected_total", layer=layer, expert=expert, **name) for expert in "0123"
        ]
        assert sum(selected) == 6 * 2
    labels = ("red", "green", "blue")
    assert sum(value("rbm_prediction_class_total", label=label, **name) for label in labels) == 6
    assert sum(value("rbm_confidence_count", label=label, **name) for label in labels) == 6
    for stage in ("parse", "position_lookup", "queue", "inference", "serialize"):
        assert value("rbm_stage_duration_seconds_count", stage=stage, **model) == 4
    http = {"route": "/classify", "method": "POST"}
    assert value("rbm_http_requests_total", code="200", **http) == 4
    assert value("rbm_http_requests_total", code="404", **http) == 1
    assert value("rbm_http_request_duration_seconds_count", route="/classify") == 7
    assert value("rbm_http_requests_in_progress", route="/classify") == 0
