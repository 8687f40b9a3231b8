"""Models change while clients classify: nobody notices but by the version in the answer."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rbm_service.runtime.engine import Engine
from tests.bundles import KNOWN_IDS
from tests.callers import calling
from tests.servers import wait_until
from tests.system.model_changes.versions import LOADED, QUERIES, REFUSED, probabilities_of

NUM_RELOADS = 50
NUM_ADMINS = 8
NUM_PROMOTIONS = 100  # by each of them


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
