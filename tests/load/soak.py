"""`make soak`: a service under steady load, watched from outside: memory, descriptors, threads, tail.

Writes a flat JSON file and renders docs/reliability.md from it. Run as
`python -m tests.load.soak soak.json docs/reliability.md MINUTES`.
"""

import json
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.load.bench import describe_machine
from tests.load.contenders import service
from tests.load.http_bench import BY_ID
from tests.load.open_loop import Schedule, send
from tests.load.performance import Results
from tests.load.production import publish_production_model
from tests.load.reliability import render
from tests.load.strain import strain
from tests.load.wrk import Contender, HttpBenchError, check_machine, confined_to, take_turns

SHARE_OF_CAPACITY: Final = 0.6
IN_FLIGHT: Final = 32
MEBIBYTE: Final = 2**20


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process holds."""

    resident_bytes: int
    num_descriptors: int
    num_threads: int


def footprint(process_id: int) -> Footprint:
    """What a process holds at the moment."""
    process = Path(f"/proc/{process_id}")
    resident_pages = int((process / "statm").read_text().split()[1])
    return Footprint(
        resident_pages * os.sysconf("SC_PAGE_SIZE"),
        len(list((process / "fd").iterdir())),
        len(list((process / "task").iterdir())),
    )


def soak(minutes: int) -> Results:
    """Load a service with 60 % of what it takes, and look at it at the end of each minute.

    Raises:
        HttpBenchError: wrk is not installed, or there is one core only.
    """
    serving_core, loading_core = check_machine()[:2]
    with tempfile.TemporaryDirectory() as name:
        publish_production_model(Path(name))
        with service(Path(name), serving_core) as server, confined_to(loading_core):
            contender = Contender(server, BY_ID)
            rounds = take_turns([contender], IN_FLIGHT, loading_core)
            capacity = statistics.median(turn[0].requests_per_second for turn in rounds)
            seen: list[Footprint] = []
            sent = send(
                contender,
                Schedule(SHARE_OF_CAPACITY * capacity, num_periods=minutes),
                lambda: seen.append(footprint(server.process_id)),
            )
    first, last = sent[0].percentile(0.99), sent[-1].percentile(0.99)
    return {
        "soak_minutes": minutes,
        "soak_requests_per_second": round(SHARE_OF_CAPACITY * capacity),
        "soak_requests": sum(minute.num_requests for minute in sent),
        "soak_failed": sum(minute.refused.total() for minute in sent),
        "soak_first_minute_p99_ms": round(1000 * first, 2),
        "soak_last_minute_p99_ms": round(1000 * last, 2),
        "soak_last_over_first_p99": round(last / first, 2),
        "soak_resident_mb": round(seen[0].resident_bytes / MEBIBYTE, 1),
        "soak_resident_growth_mb": round((seen[-1].resident_bytes - seen[0].resident_bytes) / MEBIBYTE, 1),
        "soak_descriptor_counts": len({each.num_descriptors for each in seen}),
        "soak_descriptors": seen[-1].num_descriptors,
        "soak_thread_counts": len({each.num_threads for each in seen}),
        "soak_threads": seen[-1].num_threads,
    }


def main(results_file: Path, page: Path, minutes: int) -> None:
    """Measure, write, render."""
    results = {**describe_machine(), **strain(), **soak(minutes)}
    results_file.write_text(json.dumps(results, indent=1) + "\n")
    page.write_text(render(results))
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    except HttpBenchError as error:
        raise SystemExit(str(error)) from None
