"""/metrics on a port of its own, as slow and silent callers meet it."""

import socket
import threading
import urllib.request
from contextlib import ExitStack

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rbm_service.web import server
from rbm_service.web.server import serving_metrics

NUM_IDLE = 100
BEGINNINGS = [
    b"",
    b"GET /metr",
    b"GET /metrics HTTP/1.1\r\nHost: here\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\n",
]


@pytest.fixture
def port(metrics, free_port):
    with serving_metrics(metrics.registry, "127.0.0.1", free_port):
        yield free_port


def scrape(port, path="/metrics"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        return {family.name for family in text_string_to_metric_families(answer.read().decode())}


def connected(stack, port, beginning):
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
    connection.sendall(beginning)
    return connection


def test_idle_callers_cost_no_thread_keep_no_scrape_waiting_and_are_cut_off(port):
    before = threading.active_count()
    with ExitStack() as stack:
        connections = [connected(stack, port, BEGINNINGS[number % 4]) for number in range(NUM_IDLE)]
        assert "rbm_queue_rows" in scrape(port)
        assert threading.active_count() == before
        for connection in connections:
            while connection.recv(65536):
                pass  # the one whose body does not come has its answer


def test_a_scrape_may_name_what_it_wants_and_any_path_will_do(port):
    lost = "rbm_log_lines_dropped"
    assert scrape(port, f"/?name[]={lost}_total") == {lost}


def test_the_server_ends_with_its_block_though_a_client_is_connected(metrics, free_port):
    with ExitStack() as stack:
        with serving_metrics(metrics.registry, "127.0.0.1", free_port):
            scrape(free_port)
            connection = connected(stack, free_port, b"")
            scrape(free_port)
        assert connection.recv(1) == b""
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", free_port))
    assert not [thread for thread in threading.enumerate() if thread.name == "rbm-metrics"]


def test_a_port_that_is_taken_is_named(metrics, free_port):
    with (
        socket.create_server(("127.0.0.1", free_port)),
        pytest.raises(OSError, match=f"/metrics cannot listen on 127.0.0.1:{free_port}: .*in use"),
        serving_metrics(metrics.registry, "127.0.0.1", free_port),
    ):
        pass


def test_it_has_an_address_of_ipv6_as_well(metrics, free_port):
    with serving_metrics(metrics.registry, "::1", free_port):
        assert socket.create_connection(("::1", free_port)).close() is None


def test_a_scrape_has_at_most_five_seconds():
    assert server.SCRAPE_SECONDS <= 5
