"""Signals, promotions that are refused, and a shadow: what the service in use does with them."""

import json
import signal

import numpy as np
import pytest

from rbm_bundle import ShadowSpec
from rbm_bundle.folders import replace_file
from rbm_service.web.api_keys import new_key
from tests.bundles import TINY
from tests.servers import SERVE_UNPRIVILEGED, wait_until
from tests.system.model_changes.versions import QUERIES, REFUSED, probabilities_of


def test_a_signal_makes_the_service_poll_at_once(serve, repository):
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


def test_predictions_of_a_shadow_are_counted_by_row_and_never_in_an_answer(
    serve, repository, bundles, expected
):
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
