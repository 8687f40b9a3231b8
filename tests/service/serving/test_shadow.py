import asyncio
import threading
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from rbm_bundle import ShadowSpec, read_bundle
from rbm_service.inference.node_query import NodeQuery
from rbm_service.runtime.engine import Engine
from rbm_service.serving.shadow import MAX_WAITING, Shadow
from tests.bundles import RECORDS
from tests.gates import Gate
from tests.servers import wait_until

IDS = [100, 105, 110]


@pytest.fixture
def shadow_of(bundle, metrics):
    """A shadow of version 2 over this engine."""
    shadows = []

    def shadow_of(engine, share=1.0):
        shadows.append(Shadow("tiny", ShadowSpec(2, share), bundle, engine, metrics, 1024))
        return shadows[-1]

    yield shadow_of
    for shadow in shadows:
        shadow.close()


def follow(shadow, *answered):
    """Let the shadow have these requests, and wait until it has done with those it took."""
    for request in answered:
        asyncio.run(shadow.follow(*request))
    shadow._thread.submit(lambda: None).result(30)


def labels_of(engine, bundle):
    model_inputs = {"features": bundle.nodes.features[:3], "positions": bundle.nodes.positions[:3]}
    classes = engine.run(model_inputs, ("probabilities",))["probabilities"].argmax(axis=1)
    return [bundle.manifest.labels[index] for index in classes]


def test_rows_are_counted_by_whether_both_versions_say_the_same(shadow_of, engine, bundle, metrics):
    labels = labels_of(engine, bundle)
    other = [next(label for label in bundle.manifest.labels if label != labels[0]), *labels[1:]]
    follow(shadow_of(engine), (NodeQuery(IDS), labels, 1), (NodeQuery(IDS), other, 1))
    value = metrics.registry.get_sample_value
    both = {"model_name": "tiny", "shadow_version": "2"}
    rows = {**both, "model_version": "1"}
    assert value("rbm_shadow_rows_total", {**rows, "outcome": "agree"}) == 5
    assert value("rbm_shadow_rows_total", {**rows, "outcome": "differ"}) == 1
    assert value("rbm_shadow_requests_total", {**both, "outcome": "scored"}) == 2
    assert value("rbm_shadow_duration_seconds_count", both) == 2


def test_records_are_read_as_the_shadow_reads_them(metrics):
    bundle = read_bundle(RECORDS)
    shadow = Shadow("records", ShadowSpec(2, 1.0), bundle, Engine(bundle, "cpu", 1), metrics, 1024)
    follow(shadow, (NodeQuery([3], records=[{"title": "cell"}]), ["art"], 1))
    scored = {"model_name": "records", "shadow_version": "2", "outcome": "scored"}
    assert metrics.registry.get_sample_value("rbm_shadow_requests_total", scored) == 1
    shadow.close()


def test_a_request_that_the_shadow_cannot_answer_is_counted_and_told(shadow_of, engine, metrics):
    with capture_logs() as lines:
        follow(shadow_of(engine), (NodeQuery([7]), ["red"], 1), (NodeQuery(IDS), ["red"] * 3, 1))
    outcomes = {"model_name": "tiny", "shadow_version": "2"}
    value = metrics.registry.get_sample_value
    assert value("rbm_shadow_requests_total", {**outcomes, "outcome": "failed"}) == 1
    assert value("rbm_shadow_requests_total", {**outcomes, "outcome": "scored"}) == 1
    assert [line["event"] for line in lines] == ["shadow failed"]


def test_a_request_beyond_the_queue_is_dropped_and_counted(shadow_of, engine, metrics):
    gate = Gate(engine.run)
    shadow = shadow_of(SimpleNamespace(run=gate, records=None))
    for _ in range(MAX_WAITING + 3):
        asyncio.run(shadow.follow(NodeQuery(IDS), ["red"] * 3, 1))
    gate.opened.set()
    shadow._thread.submit(lambda: None).result(30)
    labels = {"model_name": "tiny", "shadow_version": "2"}
    value = metrics.registry.get_sample_value
    assert value("rbm_shadow_requests_total", {**labels, "outcome": "dropped"}) == 3
    assert value("rbm_shadow_requests_total", {**labels, "outcome": "scored"}) == MAX_WAITING


def test_a_request_that_is_done_with_makes_room_for_another(shadow_of, engine, metrics):
    shadow = shadow_of(engine)
    value = metrics.registry.get_sample_value
    labels = {"model_name": "tiny", "shadow_version": "2", "outcome": "scored"}
    for number in range(1, MAX_WAITING + 3):
        asyncio.run(shadow.follow(NodeQuery(IDS), ["red"] * 3, 1))
        wait_until(lambda: value("rbm_shadow_requests_total", labels) == number, "it scored")  # noqa: B023


def test_a_closed_shadow_lets_go_of_what_waits_takes_nothing_more_and_counts_nothing(
    shadow_of, engine, metrics
):
    gate = Gate(engine.run)
    shadow = shadow_of(SimpleNamespace(run=gate, records=None))
    for _ in range(3):
        asyncio.run(shadow.follow(NodeQuery(IDS), ["red"] * 3, 1))
    assert gate.entered.wait(30)
    shadow.close()
    gate.opened.set()
    asyncio.run(shadow.follow(NodeQuery(IDS), ["red"] * 3, 1))
    shadow._thread._thread.join(30)
    labels = {"model_name": "tiny", "shadow_version": "2", "outcome": "scored"}
    assert metrics.registry.get_sample_value("rbm_shadow_requests_total", labels) is None


def test_while_no_thread_can_be_started_requests_are_dropped(shadow_of, engine, metrics, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    shadow = shadow_of(engine)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        for _ in range(MAX_WAITING + 1):
            asyncio.run(shadow.follow(NodeQuery(IDS), ["red"] * 3, 1))
    follow(shadow, (NodeQuery(IDS), ["red"] * 3, 1))
    both = {"model_name": "tiny", "shadow_version": "2"}
    value = metrics.registry.get_sample_value
    assert value("rbm_shadow_requests_total", {**both, "outcome": "dropped"}) == MAX_WAITING + 1
    assert value("rbm_shadow_requests_total", {**both, "outcome": "scored"}) == 1


def test_it_samples_its_share_and_nothing_of_its_own_version(shadow_of, engine):
    assert all(shadow_of(engine).samples(1) for _ in range(100))
    assert not any(shadow_of(engine).samples(2) for _ in range(100))
    assert 300 < sum(shadow_of(engine, share=0.5).samples(1) for _ in range(1000)) < 700


def test_a_request_that_may_be_answered_in_part_is_compared_as_a_whole_or_not_at_all(
    shadow_of, engine, bundle, metrics
):
    whole, part = (NodeQuery(ids, on_unknown="null") for ids in (IDS, [*IDS, 7]))
    labels = labels_of(engine, bundle)
    follow(
        shadow_of(engine), (whole, labels, 1), (part, [*labels, "red"], 1), (part.at([0, 1, 2]), labels, 1)
    )
    both, value = {"model_name": "tiny", "shadow_version": "2"}, metrics.registry.get_sample_value
    assert value("rbm_shadow_rows_total", {**both, "model_version": "1", "outcome": "agree"}) == 6
    assert value("rbm_shadow_requests_total", {**both, "outcome": "failed"}) == 1
