"""What a service does while it is asked too much, and after clients have given up on it, beside what it does
in peace: the two take turns. Part of `make soak`."""

import asyncio
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import numpy as np
import uvloop

from tests.load.contenders import service
from tests.load.open_loop import Schedule, as_bytes, send
from tests.load.performance import Results
from tests.load.production import NUM_NODES, publish_production_model
from tests.load.wrk import Contender, Request, check_machine, confined_to, load

ROUNDS: Final = 5
ROWS: Final = 256  # a request that costs the engine more than it costs the web server to refuse it
QUEUED_ROWS: Final = 1024
CALM, STORM = 0.8, 3.0  # of what the service takes
SECONDS: Final = 4.0
RECOVERY_SECONDS: Final = 2.0
STORM_CONNECTIONS: Final = 512
IN_FLIGHT: Final = QUEUED_ROWS // ROWS  # none of them is refused
PATIENT: Final = 20  # of so many requests, one is waited for
LEAVING_SECONDS: Final = 2.0
LEAVING_AT_ONCE: Final = 40


def strain() -> Results:
    """Measure.

    Returns:
        `overload_…`: at three times the load that the service takes, beside four fifths of it, from two
        seconds after the overload on. `abandoned_…`: after a time in which 95 % of the clients hung up before
        their answer, beside the time before it.

    Raises:
        HttpBenchError: wrk is not installed, or there is one core only.
    """
    serving_core, loading_core = check_machine()[:2]
    limits = {"max_request_rows": QUEUED_ROWS, "max_queued_rows": QUEUED_ROWS}
    with tempfile.TemporaryDirectory() as name:
        publish_production_model(Path(name))
        with service(Path(name), serving_core, **limits) as server, confined_to(loading_core):
            contender = Contender(server, _rows(ROWS))
            return _overload(contender, loading_core) | _abandoned(contender, loading_core)


def _overload(contender: Contender, loading_core: int) -> Results:
    with tempfile.TemporaryDirectory() as folder:
        loads = [load(contender, IN_FLIGHT, loading_core, Path(folder)) for _ in range(3)]
    capacity = statistics.median(measured.requests_per_second for measured in loads)
    calm, storms = Schedule(CALM * capacity, period_seconds=SECONDS), []
    storm = Schedule(STORM * capacity, period_seconds=SECONDS, num_connections=STORM_CONNECTIONS)
    calms = [send(contender, calm)[0]]
    for _ in range(ROUNDS):
        storms += send(contender, storm)
        send(contender, Schedule(CALM * capacity, period_seconds=RECOVERY_SECONDS))
        calms += send(contender, calm)
    tails = [
        during.percentile(0.99) / before.percentile(0.99)
        for before, during in zip(calms[:-1], storms, strict=True)
    ]
    refused = sum((period.refused for period in storms), start=Counter())
    return {
        "overload_rounds": ROUNDS,
        "overload_capacity_per_second": round(capacity),
        "overload_accepted_over_capacity": _median(len(p.seconds) / SECONDS / capacity for p in storms),
        "overload_p99_over_calm_p99": _median(tails),
        "overload_calm_p99_ms": _median(1000 * period.percentile(0.99) for period in calms),
        "overload_p99_after_over_before": _median(
            after.percentile(0.99) / before.percentile(0.99) for before, after in pairwise(calms)
        ),
        "overload_refused_429": refused[429],
        "overload_other_failures": refused.total() - refused[429],
        "overload_calm_failures": sum(period.refused.total() for period in calms),
    }


def _abandoned(contender: Contender, loading_core: int) -> Results:
    """Requests per second of patient clients, after the others have left over before they came."""
    ratios, num_sent = [], 0
    with tempfile.TemporaryDirectory() as folder:
        load(contender, IN_FLIGHT, loading_core, Path(folder))
        before = load(contender, IN_FLIGHT, loading_core, Path(folder))
        for _ in range(ROUNDS):
            num_sent += uvloop.run(_leave(contender))
            time.sleep(RECOVERY_SECONDS)
            after = load(contender, IN_FLIGHT, loading_core, Path(folder))
            ratios.append(after.requests_per_second / before.requests_per_second)
            before = after
    return {
        "abandoned_rounds": ROUNDS,
        "abandoned_requests": num_sent,
        "abandoned_throughput_after_over_before": _median(ratios),
    }


async def _leave(contender: Contender) -> int:
    """For a while, clients that send a request and hang up, all but one in so many; how many requests."""
    parts, request = urlsplit(contender.server.url), as_bytes(contender)
    loop = asyncio.get_running_loop()
    end = loop.time() + LEAVING_SECONDS

    async def come_and_go() -> int:
        num_sent = 0
        while loop.time() < end:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(request)
            await writer.drain()
            if num_sent % PATIENT == PATIENT - 1:
                await reader.readuntil(b"\r\n\r\n")
            num_sent += 1
            writer.close()
        return num_sent

    return sum(await asyncio.gather(*(come_and_go() for _ in range(LEAVING_AT_ONCE))))


def _rows(num_rows: int) -> Request:
    ids = np.random.default_rng(0).integers(0, NUM_NODES, num_rows).tolist()
    return Request("/classify", json.dumps({"node_ids": ids}).encode())


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 2)
