"""The service is told to stop while clients classify: what it took is answered, and the process ends well."""

import contextlib
import http.client
import json
import signal
import threading
import urllib.error
import urllib.request

import pytest

from tests.bundles import KNOWN_IDS
from tests.callers import calling
from tests.servers import running_server, wait_until

QUERIES = [{"node_ids": [100, 105]}, {"node_ids": [*KNOWN_IDS, *KNOWN_IDS]}]


class Prober:
    """A load balancer's eye on /readyz, until nobody listens any more."""

    def __init__(self, url):
        self.seen = []
        self.url = url
        self.thread = threading.Thread(target=self.probe)
        self.thread.start()

    def probe(self):
        while not self.seen or self.seen[-1] != "gone":
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=30):
                    self.note("ready")
            except urllib.error.HTTPError as error:
                with error:
                    self.note(json.load(error)["code"])
            except OSError:
                self.note("gone")

    def note(self, state):
        if not self.seen or self.seen[-1] != state:
            self.seen.append(state)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_under_load_it_loses_no_request_and_is_unready_before_it_is_gone(
    models_dir, tmp_path, number
):
    answers = []

    def check(index, answer):
        """Clients that go on until they are refused, as the last load balancer to look would."""
        if answer is None:
            return False
        answers.append((answer.status, answer.headers.get("connection"), answer.body.get("code")))
        if answer.status == 200:
            return True
        assert answer.headers["retry-after"] == "1"
        return False

    with running_server(models_dir, tmp_path / "log", drain_seconds=3, log_level="error") as server:
        prober = Prober(server.url)
        with calling(server.port, QUERIES, check) as calls:
            wait_until(lambda: len(answers) > 100 or calls.failures, "answers")
            server.process.send_signal(number)
            assert server.process.wait(30) == 0
        prober.thread.join()
    assert calls.failures == []
    assert prober.seen == ["ready", "draining", "gone"]
    assert set(answers) == {(200, None, None), (200, "close", None), (503, "close", "draining")}
    assert [status for status, _, _ in answers].count(503) == 8  # each client is told once, and believes it
    assert "Traceback" not in server.log.read_text()


def test_clients_that_leave_when_it_is_not_ready_are_never_refused(models_dir, tmp_path):
    statuses = []

    with running_server(models_dir, tmp_path / "log", drain_seconds=60) as server:
        prober = Prober(server.url)

        def check(index, answer):
            statuses.append(answer.status)
            return "draining" not in prober.seen

        with calling(server.port, QUERIES, check) as calls:
            wait_until(lambda: len(statuses) > 100 or calls.failures, "answers")
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(30) == 0  # well before the limit: it is quiet
        prober.thread.join()
    assert calls.failures == []
    assert set(statuses) == {200}


def test_a_request_still_on_its_way_when_it_is_told_to_stop_is_answered(models_dir, tmp_path):
    body = json.dumps(QUERIES[0]).encode()
    with running_server(models_dir, tmp_path / "log", drain_seconds=60) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.putrequest("POST", "/classify")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:5])
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.events("draining"), "draining")
        connection.send(body[5:])
        with contextlib.closing(connection), connection.getresponse() as response:
            assert response.status == 200
            assert len(json.load(response)["predictions"]) == 2
        assert server.process.wait(30) == 0


def test_a_second_signal_ends_it_at_once(models_dir, tmp_path):
    with running_server(models_dir, tmp_path / "log", drain_seconds=60) as server:
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.events("draining"), "draining")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == -signal.SIGTERM
