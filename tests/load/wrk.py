"""A server under load from wrk: its requests per second, and what a request costs it in processor time.

The server has one core to itself, wrk another. Where other processes want the server's core too, requests per
second say who got it rather than what a request costs: how long the server waited for the core is measured
as well, and throughput is also given per second of processor time.
"""

import json
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROUNDS: Final = 7
ROUND_SECONDS: Final = 2
JSON_TYPE: Final = {"Content-Type": "application/json"}
SCRIPT: Final = """
wrk.method = "POST"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
{headers}
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
class Request:
    """What is sent, over and over."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: JSON_TYPE)


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens, and its process."""

    url: str
    process_id: int


@dataclass(frozen=True, slots=True)
class Contender:
    """A server and the request it is sent."""

    server: Server
    request: Request


@dataclass(frozen=True, slots=True)
class Load:
    """What one server did under load."""

    requests_per_second: float
    requests_per_processor_second: float
    waited_share: float  # of the time it wanted to run
    median_microseconds: float

    @property
    def processor_microseconds(self) -> float:
        """Processor time of the server for one request."""
        return 1e6 / self.requests_per_processor_second


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """Seconds that the threads of a process ran, and that they waited for a core to run on."""

    ran: float
    waited: float


def check_machine() -> list[int]:
    """The cores: the first serves, the second loads.

    Raises:
        HttpBenchError: wrk is not installed, or there is one core only.
    """
    if shutil.which("wrk") is None:
        raise HttpBenchError("HTTP benchmark: wrk is not installed (Debian, Ubuntu: apt install wrk)")
    if len(cores := sorted(os.sched_getaffinity(0))) < 2:
        raise HttpBenchError(f"HTTP benchmark: expected a core to serve and one to load, got {len(cores)}")
    return cores


@contextmanager
def confined_to(core: int) -> Iterator[None]:
    """Keep this process to one core for as long as the block runs."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def take_turns(contenders: Sequence[Contender], in_flight: int, core: int) -> list[list[Load]]:
    """Round by round, what each did; one round before that warms them up.

    Raises:
        HttpBenchError: a request failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        for contender in contenders:
            load(contender, in_flight, core, Path(folder))
        return [
            [load(contender, in_flight, core, Path(folder)) for contender in contenders]
            for _ in range(ROUNDS)
        ]


def load(contender: Contender, in_flight: int, core: int, folder: Path) -> Load:
    """One round of one server."""
    server, request = contender.server, contender.request
    script = _script_of(request, folder)
    url = f"{server.url}{request.path}"
    command = ["wrk", "-t1", f"-c{in_flight}", f"-d{ROUND_SECONDS}s", "-s", str(script), url]
    before = _processor_time(server.process_id)
    ran = subprocess.run(["taskset", "-c", str(core), *command], capture_output=True, text=True, check=True)
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


def ratio(rounds: Sequence[Sequence[Load]], measure: str) -> float:
    """Median over rounds of the first contender's measure over the second's."""
    ratios = [getattr(ours, measure) / getattr(theirs, measure) for ours, theirs in rounds]
    return round(statistics.median(ratios), 3)


def _script_of(request: Request, folder: Path) -> Path:
    body, script = folder / "body", folder / "post.lua"
    body.write_bytes(request.body)
    headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in request.headers.items())
    script.write_text(SCRIPT.format(body=body, headers=headers))
    return script


def _processor_time(process_id: int) -> ProcessorTime:
    threads = Path(f"/proc/{process_id}/task").iterdir()
    counters = [(thread / "schedstat").read_text().split() for thread in threads]
    ran, waited = (sum(int(counter[place]) for counter in counters) / 1e9 for place in (0, 1))
    return ProcessorTime(ran, waited)
