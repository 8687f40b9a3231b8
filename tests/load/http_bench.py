"""What `POST /classify` costs on top of HTTP: its throughput over that of a bare route, the two taking turns.

Both are servers of one process on one core, loaded from another core by wrk. Where other processes want that
core too, requests per second say who got it rather than what a request costs: how long the bare route, one
thread, waited for the core is measured as well, and throughput is also given per second of processor time.
Run alone: `python -m tests.load.http_bench`.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rbm_bundle import ModelRepository
from tests.load.production import write_production_bundle
from tests.servers import SERVE, find_free_port, wait_until_ready

BODY: Final = '{"node_ids":[17]}'
LOADED, ALONE = 32, 1  # requests in flight
ROUNDS: Final = 7
ROUND_SECONDS: Final = 2
MAX_WAITED_SHARE: Final = 0.05  # beyond it, requests per second are not to be quoted
SCRIPT: Final = f"""
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{BODY}'
done = function(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('\\n{{"requests": %d, "microseconds": %d, "failed": %d, "median": %d}}\\n',
    summary.requests, summary.duration, failed, latency:percentile(50)))
end
"""


class HttpBenchError(Exception):
    """The machine cannot run this part of the benchmark, or a server did not answer as it should."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one server did under load."""

    requests_per_second: float
    requests_per_processor_second: float
    waited_share: float  # of the time it wanted to run
    median_microseconds: float


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens, and its process."""

    url: str
    process_id: int


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """Seconds that the threads of a process ran, and that they waited for a core to run on."""

    ran: float
    waited: float


def http_ratios() -> dict[str, float]:
    """Measure.

    Returns:
        With 32 in flight: `classify_over_bare_route_c32`, requests per second of `/classify` over those of
        the bare route; `classify_over_bare_route_processor_c32`, the same per second of processor time;
        `bare_route_waited_share_c32`, the share of its time that the bare route waited for the core: with
        more than a few hundredths, the first ratio means nothing. With one in flight:
        `classify_over_bare_route_p50_c1`, median latency over median latency.

    Raises:
        HttpBenchError: wrk is not installed, there is one core only, or a request failed.
    """
    cores = _check_machine()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        script = folder / "post.lua"
        script.write_text(SCRIPT)
        served = stack.enter_context(_service(folder, cores[0]))
        bare = stack.enter_context(_bare_route(cores[0]))
        loaded = _take_turns((served, bare), LOADED, script, cores[1])
        alone = _take_turns((served, bare), ALONE, script, cores[1])
    waited = statistics.median(bare.waited_share for _, bare in loaded)
    _print("/classify", "bare route", loaded, alone)
    if waited > MAX_WAITED_SHARE:
        print("the core was shared with other processes: go by processor time, not by requests per second")
    return {
        "classify_over_bare_route_c32": _ratio(loaded, "requests_per_second"),
        "classify_over_bare_route_processor_c32": _ratio(loaded, "requests_per_processor_second"),
        "bare_route_waited_share_c32": round(waited, 3),
        "classify_over_bare_route_p50_c1": _ratio(alone, "median_microseconds"),
    }


def _check_machine() -> list[int]:
    if shutil.which("wrk") is None:
        raise HttpBenchError("HTTP benchmark: wrk is not installed (Debian, Ubuntu: apt install wrk)")
    if len(cores := sorted(os.sched_getaffinity(0))) < 2:
        raise HttpBenchError(f"HTTP benchmark: found {len(cores)} core, wanted one to serve and one to load")
    return cores


@contextmanager
def _service(folder: Path, core: int) -> Iterator[Server]:
    write_production_bundle(folder / "bundle")
    repository = ModelRepository(folder / "models")
    repository.promote("production", repository.publish(folder / "bundle"))
    port = find_free_port()
    settings = {"RBM_MODELS_DIR": str(folder / "models"), "RBM_DEVICE": "cpu", "RBM_PORT": str(port)}
    with _server(SERVE, port, core, settings) as server:
        yield server


@contextmanager
def _bare_route(core: int) -> Iterator[Server]:
    port = find_free_port()
    with _server([sys.executable, "-m", "tests.load.bare_route", str(port)], port, core, {}) as server:
        yield server


@contextmanager
def _server(command: Sequence[str], port: int, core: int, settings: dict[str, str]) -> Iterator[Server]:
    """A server on one core; its log goes where it costs the least, as that of the other does."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RBM_")}
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *command],
        env={**inherited, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, process)
        yield Server(url, process.pid)
    finally:
        process.terminate()
        process.wait()


def _take_turns(servers: Sequence[Server], in_flight: int, script: Path, core: int) -> list[list[Load]]:
    for server in servers:
        _load(server, in_flight, script, core)  # warms up
    return [[_load(server, in_flight, script, core) for server in servers] for _ in range(ROUNDS)]


def _load(server: Server, in_flight: int, script: Path, core: int) -> Load:
    url = f"{server.url}/classify"
    wrk = ["wrk", "-t1", f"-c{in_flight}", f"-d{ROUND_SECONDS}s", "-s", str(script), url]
    before = _processor_time(server.process_id)
    ran = subprocess.run(["taskset", "-c", str(core), *wrk], capture_output=True, text=True, check=True)
    after = _processor_time(server.process_id)
    measured = json.loads(ran.stdout.splitlines()[-1])
    if measured["failed"] or not measured["requests"]:
        raise HttpBenchError(f"HTTP benchmark: {measured['failed']} requests to {url} failed")
    running, waiting = after.ran - before.ran, after.waited - before.waited
    return Load(
        requests_per_second=1e6 * measured["requests"] / measured["microseconds"],
        requests_per_processor_second=measured["requests"] / running,
        waited_share=waiting / (running + waiting),
        median_microseconds=measured["median"],
    )


def _processor_time(process_id: int) -> ProcessorTime:
    threads = Path(f"/proc/{process_id}/task").iterdir()
    counters = [(thread / "schedstat").read_text().split() for thread in threads]
    ran, waited = (sum(int(counter[place]) for counter in counters) / 1e9 for place in (0, 1))
    return ProcessorTime(ran, waited)


def _ratio(rounds: Sequence[Sequence[Load]], measure: str) -> float:
    ratios = [getattr(ours, measure) / getattr(theirs, measure) for ours, theirs in rounds]
    return round(statistics.median(ratios), 3)


def _print(ours: str, theirs: str, loaded: Sequence[Sequence[Load]], alone: Sequence[Sequence[Load]]) -> None:
    for index, name in enumerate((ours, theirs)):
        rate = statistics.median(turn[index].requests_per_second for turn in loaded)
        cost = statistics.median(1e6 / turn[index].requests_per_processor_second for turn in loaded)
        median = statistics.median(turn[index].median_microseconds for turn in alone)
        print(
            f"{name:12} {rate:7.0f} requests/s and {cost:4.0f} µs of processor time each "
            f"at {LOADED} in flight, p50 {median:6.0f} µs alone"
        )


if __name__ == "__main__":
    try:
        print(json.dumps(http_ratios(), indent=2))
    except HttpBenchError as error:
        raise SystemExit(str(error)) from None
