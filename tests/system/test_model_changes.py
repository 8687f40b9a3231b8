"""Models change while clients classify: nobody notices but by the version in the answer."""

import itertools
import json
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from rbm_bundle import ModelRepository, ShadowSpec, read_bundle
from rbm_bundle.bundle import read_manifest
from rbm_bundle.folders import replace_file
from rbm_service.app import create_app
from rbm_service.runtime.engine import Engine
from rbm_service.settings import Settings
from rbm_service.web.api_keys import new_key
from tests.bundles import KNOWN_IDS, TINY, with_other_answers
from tests.callers import calling
from tests.servers import ADMIN_KEY_LINE, SERVE_UNPRIVILEGED, running_server, wait_until

NUM_RELOADS = 50
NUM_KILLS = 20
PUBLISH_ON = """
import itertools, sys
from pathlib import Path
from rbm_bundle import ModelRepository

repository = ModelRepository(Path(sys.argv[1]))
for folder in itertools.cycle(sys.argv[2:]):
    repository.promote("tiny", repository.publish(Path(folder), "tiny"))
"""
NUM_ADMINS = 8
NUM_PROMOTIONS = 100  # by each of them
LOADED = 'rbm_model_loads_total{model_name="tiny",outcome="loaded"}'
REFUSED = 'rbm_model_loads_total{model_name="tiny",outcome="refused"}'
FEATURES = [[0.1 * column for column in range(12)], [1.0] * 12, [float(column % 3) for column in range(12)]]
QUERIES = [
    {"node_ids": [100, 150, 195], "return_probabilities": True},
    {"node_ids": [105, 110, 115], "features": FEATURES, "return_probabilities": True},
    {"features": FEATURES, "neighbors": [[100, 105], [190], [7, 150]], "return_probabilities": True},
    {"node_ids": [*KNOWN_IDS, *KNOWN_IDS], "return_probabilities": True},  # too many rows to run on the loop
]


def probabilities_of(answer):
    return np.array([prediction["probabilities"] for prediction in answer["predictions"]])


def answers_of(bundle, root):
    """What this bundle alone answers to every query."""
    repository = ModelRepository(root)
    repository.promote("tiny", repository.publish(bundle.path))
    with TestClient(create_app(Settings(models_dir=root, device="cpu", max_batch_rows=64))) as client:
        return [probabilities_of(client.post("/classify", json=query).json()) for query in QUERIES]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Three that answer differently, by their graphs and by their node tables."""
    root = tmp_path_factory.mktemp("bundles")
    tiny = read_bundle(TINY)
    return [tiny, *(with_other_answers(tiny, root / str(seed), seed) for seed in (1, 2))]


@pytest.fixture(scope="module")
def expected(bundles, tmp_path_factory):
    return [answers_of(bundle, tmp_path_factory.mktemp("alone")) for bundle in bundles]


@pytest.fixture
def repository(tmp_path):
    repository = ModelRepository(tmp_path / "models")
    repository.promote("tiny", repository.publish(TINY))
    return repository


@pytest.fixture
def admin_key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(ADMIN_KEY_LINE)
    return path


@pytest.fixture
def serve(repository, tmp_path):
    def serve(**settings):
        return running_server(
            repository.root, tmp_path / "server.log", **{"reload_poll_seconds": 0.01, **settings}
        )

    return serve


def test_a_graph_with_the_table_of_another_version_would_be_detected(expected, bundles):
    rows = np.searchsorted(KNOWN_IDS, QUERIES[0]["node_ids"])
    for graph, table in itertools.product(range(len(bundles)), repeat=2):
        nodes = bundles[table].nodes
        model_inputs = {"features": nodes.features_of(rows), "positions": nodes.positions_of(rows)}
        mixed = Engine(bundles[graph], "cpu", intra_op_threads=1).run(model_inputs, ("probabilities",))
        for version, alone in enumerate(expected):
            apart = np.abs(mixed["probabilities"] - alone[0]).max()
            assert (apart < 1e-5) == (graph == table == version)


@pytest.mark.parametrize("query", range(len(QUERIES)))
def test_every_query_tells_the_versions_apart(expected, query):
    for one, other in itertools.combinations(expected, 2):
        assert np.abs(one[query] - other[query]).max() > 1e-3


def test_fifty_reloads_under_load_fail_no_request_and_mix_no_versions(serve, repository, bundles, expected):
    seen = set()

    def check(index, answer):
        assert answer is not None
        assert answer.status == 200, answer.body
        version = answer.body["model"]["version"]
        alone = expected[(version - 1) % len(bundles)][index]
        assert np.abs(probabilities_of(answer.body) - alone).max() < 1e-5, (version, index)
        seen.add(version)
        return True

    def wait_for_answers_of(version):
        wait_until(lambda: version in seen or calls.failures, f"an answer of version {version}")

    with serve(log_level="error") as server:
        with calling(server.port, QUERIES, check) as calls:
            wait_for_answers_of(1)
            for version in range(2, NUM_RELOADS + 2):
                repository.publish(bundles[(version - 1) % len(bundles)].path, "tiny")
                repository.promote("tiny", version)
                wait_for_answers_of(version)
                if version == 3:
                    num_threads = count_threads(server)
        assert calls.failures == []
        assert seen == set(range(1, NUM_RELOADS + 2))
        assert server.metric(LOADED) == NUM_RELOADS + 1
        assert server.metric(REFUSED) == 0
        shown = [line for line in server.get("/metrics").decode().splitlines() if "rbm_model_info{" in line]
        assert len(shown) == 1
        assert f'model_version="{NUM_RELOADS + 1}"' in shown[0]
        # One more: the thread of an engine starts with its first large batch.
        wait_until(lambda: count_threads(server) <= num_threads + 1, "no thread of an old model")


def count_threads(server):
    return len(list(Path(f"/proc/{server.process.pid}/task").iterdir()))


def alternate(server, first, changes):
    """Promote two versions in turn."""
    for turn in range(first, first + NUM_PROMOTIONS):
        status, answer = server.command("tiny", "promote", {"version": 1 + turn % 2})
        changes.append((status, answer.get("former_version"), answer["model"]["version"]))


def test_eight_admins_who_promote_two_versions_in_turn_fail_no_request_and_mix_none(
    serve, repository, bundles, expected, admin_key_file
):
    repository.publish(bundles[1].path, "tiny")
    changes = []

    def check(index, answer):
        assert answer is not None
        assert answer.status == 200, answer.body
        alone = expected[answer.body["model"]["version"] - 1][index]
        assert np.abs(probabilities_of(answer.body) - alone).max() < 1e-5
        return True

    with (
        serve(
            log_level="error", admin_key_file=admin_key_file, reload_poll_seconds=0, max_batch_rows=8
        ) as server,
        calling(server.port, QUERIES, check, num_callers=2) as calls,
        ThreadPoolExecutor(NUM_ADMINS) as admins,
    ):
        for done in [admins.submit(alternate, server, first, changes) for first in range(NUM_ADMINS)]:
            done.result()
        assert calls.failures == []
        assert calls.num_answers
        assert {status for status, _, _ in changes} == {200}
        num_swaps = sum(former != version for _, former, version in changes)
        assert num_swaps > len(changes) // 4  # those who come after one who wants the same find it done
        assert server.metric(LOADED) == num_swaps + 1
        assert server.metric(REFUSED) == 0
        assert repository.current("tiny") == json.loads(server.get("/info"))["model"]["version"]


def test_a_signal_has_it_look_at_once(serve, repository):
    with serve(reload_poll_seconds=0) as server:
        repository.promote("tiny", repository.publish(TINY))
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.classify({"node_ids": [100]})["model"]["version"] == 2, "version 2")
        server.process.send_signal(signal.SIGHUP)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0


def test_keys_are_read_anew_on_a_signal_and_a_file_that_is_not_right_changes_nothing(serve, tmp_path):
    (old, old_line), (new, new_line) = new_key("web"), new_key("web")
    keys = tmp_path / "keys"
    keys.write_text(old_line)
    with serve(api_keys_file=keys) as server:
        assert (server.status("/info", old), server.status("/info", new)) == (200, 401)
        keys.write_text(new_line)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.status("/info", new) == 200, "the new key")
        assert server.status("/info", old) == 401
        keys.write_text("nonsense")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.events("keys refused, the old ones stay"), "a refusal")
        assert server.status("/info", new) == 200


def test_a_promotion_where_nothing_may_be_written_is_refused_and_changes_nothing(
    serve, repository, admin_key_file
):
    repository.publish(TINY)
    (repository.root / "tiny").chmod(0o555)
    with serve(admin_key_file=admin_key_file, command=SERVE_UNPRIVILEGED) as server:
        status, problem = server.command("tiny", "promote", {"version": 2})
        assert (status, problem["code"]) == (409, "conflict")
        assert "the repository cannot be written (Permission denied)" in problem["detail"]
        assert server.classify({"node_ids": [100]})["model"]["version"] == repository.current("tiny") == 1
        (repository.root / "tiny").chmod(0o755)
        assert server.command("tiny", "promote", {"version": 2})[0] == 200


def test_what_a_shadow_says_is_counted_row_by_row_and_told_to_nobody(serve, repository, bundles, expected):
    repository.set_shadow("tiny", ShadowSpec(repository.publish(bundles[1].path, "tiny"), 1.0))
    pairs = [(one.argmax(axis=1), other.argmax(axis=1)) for one, other in zip(*expected[:2], strict=True)]
    num_agreeing = sum(int((one == other).sum()) for one, other in pairs)
    num_rows = sum(len(one) for one, _ in pairs)
    assert 0 < num_agreeing < num_rows
    both = 'model_name="tiny",model_version="1",outcome="{}",shadow_version="2"'
    scored = 'rbm_shadow_requests_total{model_name="tiny",outcome="scored",shadow_version="2"}'
    with serve() as server:
        wait_until(lambda: json.loads(server.get("/info"))["shadow"], "a shadow")
        for index, query in enumerate(QUERIES):
            answer = server.classify(query)
            assert np.abs(probabilities_of(answer) - expected[0][index]).max() < 1e-5
        wait_until(lambda: server.metric(scored) == len(QUERIES), "every request scored")
        assert server.metric(f"rbm_shadow_rows_total{{{both.format('agree')}}}") == num_agreeing
        assert server.metric(f"rbm_shadow_rows_total{{{both.format('differ')}}}") == num_rows - num_agreeing
        assert server.metric('rbm_inference_rows_total{model_name="tiny",model_version="1"}') == num_rows
        repository.promote("tiny", 2)
        wait_until(lambda: json.loads(server.get("/info"))["model"]["version"] == 2, "version 2")
        wait_until(lambda: json.loads(server.get("/info"))["shadow"] is None, "a shadow that is idle")
        server.classify(QUERIES[0])
        assert "rbm_shadow_requests_total{" not in server.get("/metrics").decode()  # its series went with it


@pytest.mark.parametrize("broken", ["student.grouped.onnx", "golden.npz", "manifest.json"])
def test_a_broken_promotion_keeps_the_old_model_and_a_later_good_one_is_taken(serve, repository, broken):
    version = repository.publish(TINY)
    path = repository.path_of("tiny", version) / broken
    path.write_bytes(path.read_bytes()[:-1])
    with serve() as server:
        replace_file(repository.root / "tiny" / "CURRENT", f"{version}\n".encode())
        wait_until(lambda: server.metric(REFUSED) == 1, "a refusal")
        assert server.classify({"node_ids": [100]})["model"]["version"] == 1
        assert server.get("/readyz")
        repository.promote("tiny", repository.publish(TINY))
        wait_until(lambda: json.loads(server.get("/info"))["model"]["version"] == 3, "version 3")
        assert server.metric(REFUSED) == 1
        (refusal,) = server.events("promotion refused; the current version stays")
        assert broken in refusal["reason"]


def test_twenty_kills_of_service_and_publisher_leave_only_whole_versions(
    serve, repository, bundles, expected
):
    answer_of = {
        bundle.manifest.bundle_id: answer[0] for bundle, answer in zip(bundles, expected, strict=True)
    }
    whole = set()
    moments = random.Random(9)
    for _ in range(NUM_KILLS):
        with serve() as server:
            answer = server.classify(QUERIES[0])
            assert_answered_by(answer, repository, answer_of)
            with publishing(repository, bundles) as publisher:
                wait_until(lambda: server.events("loading model"), "the beginning of a reload")
                time.sleep(moments.uniform(0, 0.1))
                server.process.kill()
                time.sleep(moments.uniform(0, 0.02))
                publisher.kill()
            assert server.process.wait(30) == publisher.wait(30) == -signal.SIGKILL
        whole |= verified(repository, set(repository.versions("tiny")) - whole)
        assert repository.current("tiny") in whole
    with serve() as server:
        assert_answered_by(server.classify(QUERIES[0]), repository, answer_of)


@contextmanager
def publishing(repository, bundles):
    """Somebody who publishes and promotes without a pause."""
    arguments = [repository.root, *(bundle.path for bundle in bundles)]
    with subprocess.Popen([sys.executable, "-c", PUBLISH_ON, *map(str, arguments)]) as process:
        try:
            yield process
        finally:
            process.kill()


def verified(repository, versions):
    for version in versions:
        read_bundle(repository.path_of("tiny", version)).golden()
    return versions


def assert_answered_by(answer, repository, answer_of):
    manifest = read_manifest(repository.path_of("tiny", answer["model"]["version"]))
    assert np.abs(probabilities_of(answer) - answer_of[manifest.bundle_id]).max() < 1e-5
