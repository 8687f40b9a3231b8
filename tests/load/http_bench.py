"""What a request costs, against servers that do less of it or do it otherwise, the two taking turns.

Run alone: `python -m tests.load.http_bench`.
"""

import json
import statistics
import tempfile
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np

from tests.load.contenders import service, yardstick
from tests.load.production import NUM_FEATURES, POSITION_WIDTH, publish_production_model
from tests.load.wrk import Contender, HttpBenchError, Load, Request, Server, check_machine, ratio, take_turns

LOADED, ALONE = 32, 1  # requests in flight
MAX_WAITED_SHARE: Final = 0.05  # beyond it, requests per second are not to be quoted
BULK_ROWS: Final = 100
ROWS: Final = 32
BY_ID: Final = Request("/classify", b'{"node_ids":[17]}')
COST: Final = "processor_microseconds"


def http_ratios() -> dict[str, float]:
    """Measure, with 32 requests in flight unless said.

    Returns:
        By id, against a bare FastAPI route behind the same middleware: `classify_over_bare_route_c32`,
        requests per second over requests per second; `classify_over_bare_route_processor_c32`, the same per
        second of processor time; `bare_route_waited_share_c32`, the share of its time that the bare route
        waited for the core: with more than a few hundredths, the first ratio means nothing;
        `classify_over_bare_route_p50_c1`, median latency over median latency, one in flight.
        Processor time over processor time: `classify_cpu_over_starlette_route`, by id, against a bare
        Starlette route that answers the same bytes, and `classify_cpu_over_starlette_route_32x164`, 32 rows
        of 164 numbers; `classify_cpu_over_plain_fastapi`, one row of 164 numbers, against the dense graph
        behind an ordinary FastAPI route; `batching_cpu_saving_c32`, by id, the service that runs every row
        alone over the one that batches; `binary_over_json_cpu_100x164`, a hundred rows as JSON over the same
        as binary tensors.

    Raises:
        HttpBenchError: wrk is not installed, there is one core only, or a request failed.
    """
    cores = check_machine()
    with tempfile.TemporaryDirectory() as name:
        bench = _Bench(Path(name), *cores[:2])
        return {**bench.over_bare_route(), **bench.costs()}


class _Bench:
    """The service with its production bundle, and one rival at a time."""

    def __init__(self, folder: Path, serving_core: int, loading_core: int) -> None:
        self._models_dir = folder / "models"
        self._folder = folder
        self._serving_core, self._loading_core = serving_core, loading_core
        self._bundle = publish_production_model(self._models_dir)

    def over_bare_route(self) -> dict[str, float]:
        with ExitStack() as stack:
            ours = Contender(stack.enter_context(self._service()), BY_ID)
            bare = Contender(stack.enter_context(yardstick("bare_route", self._serving_core)), BY_ID)
            loaded = take_turns((ours, bare), LOADED, self._loading_core)
            alone = take_turns((ours, bare), ALONE, self._loading_core)
        waited = statistics.median(theirs.waited_share for _, theirs in loaded)
        _print(("/classify by id", "bare FastAPI route"), loaded)
        if waited > MAX_WAITED_SHARE:
            print(
                "the core was shared with other processes: go by processor time, not by requests per second"
            )
        return {
            "classify_over_bare_route_c32": ratio(loaded, "requests_per_second"),
            "classify_over_bare_route_processor_c32": ratio(loaded, "requests_per_processor_second"),
            "bare_route_waited_share_c32": round(waited, 3),
            "classify_over_bare_route_p50_c1": ratio(alone, "median_microseconds"),
        }

    def costs(self) -> dict[str, float]:
        with self._service() as ours:
            for request in (BY_ID, as_json(ROWS)):
                self._answer_file_of(request).write_bytes(_answer(ours, request))
        graph = str(self._bundle.graph_path("cuda"))
        plain = ("plain_fastapi", graph)
        return {
            "classify_cpu_over_starlette_route": self._over_starlette_route(BY_ID),
            f"classify_cpu_over_starlette_route_{ROWS}x164": self._over_starlette_route(as_json(ROWS)),
            "classify_cpu_over_plain_fastapi": self._over_yardstick(as_json(1), *plain),
            "batching_cpu_saving_c32": self._batching_saving(),
            "binary_over_json_cpu_100x164": self._binary_saving(),
        }

    def _over_starlette_route(self, request: Request) -> float:
        return self._over_yardstick(request, "starlette_route", str(self._answer_file_of(request)))

    def _answer_file_of(self, request: Request) -> Path:
        return self._folder / f"answer-{len(request.body)}.json"

    def _over_yardstick(self, request: Request, module: str, *arguments: str) -> float:
        with ExitStack() as stack:
            ours = stack.enter_context(self._service())
            theirs = stack.enter_context(yardstick(module, self._serving_core, *arguments))
            contenders = (Contender(ours, request), Contender(theirs, request))
            return self._cost_ratio(("/classify", module), contenders)

    def _batching_saving(self) -> float:
        with ExitStack() as stack:
            alone = stack.enter_context(self._service(max_batch_rows=1))
            batched = stack.enter_context(self._service())
            contenders = (Contender(alone, BY_ID), Contender(batched, BY_ID))
            return self._cost_ratio(("row by row", "in batches"), contenders)

    def _binary_saving(self) -> float:
        with self._service() as ours:
            contenders = (Contender(ours, as_json(BULK_ROWS)), Contender(ours, as_tensors(BULK_ROWS)))
            return self._cost_ratio(("JSON", "binary tensors"), contenders)

    def _cost_ratio(self, names: Sequence[str], contenders: Sequence[Contender]) -> float:
        rounds = take_turns(contenders, LOADED, self._loading_core)
        _print(names, rounds)
        return ratio(rounds, COST)

    def _service(self, **settings: object):
        return service(self._models_dir, self._serving_core, **settings)


def _answer(server: Server, request: Request) -> bytes:
    sent = urllib.request.Request(f"{server.url}{request.path}", request.body, dict(request.headers))
    with urllib.request.urlopen(sent, timeout=30) as answer:
        return bytes(answer.read())


def _rows(num_rows: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    widths = {"features": NUM_FEATURES, "positions": POSITION_WIDTH}
    return {name: generator.standard_normal((num_rows, width), np.float32) for name, width in widths.items()}


def as_json(num_rows: int) -> Request:
    """Rows of 164 numbers, columns of features and positions."""
    body = {name: tensor.astype(float).round(6).tolist() for name, tensor in _rows(num_rows).items()}
    return Request("/classify", json.dumps(body).encode())


def as_tensors(num_rows: int) -> Request:
    """The same rows for the bulk path: binary tensors of the Open Inference Protocol, both ways."""
    tensors = _rows(num_rows)
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": name,
                    "shape": list(tensor.shape),
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": tensor.nbytes},
                }
                for name, tensor in tensors.items()
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    body = header + b"".join(tensor.tobytes() for tensor in tensors.values())
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(header)),
    }
    return Request("/v2/models/production/infer", body, headers)


def _print(names: Sequence[str], rounds: Sequence[Sequence[Load]]) -> None:
    for index, name in enumerate(names):
        rate = statistics.median(turn[index].requests_per_second for turn in rounds)
        cost = statistics.median(turn[index].processor_microseconds for turn in rounds)
        print(f"{name:20} {rate:7.0f} requests/s, {cost:5.0f} µs of processor time each")


if __name__ == "__main__":
    try:
        print(json.dumps(http_ratios(), indent=2))
    except HttpBenchError as error:
        raise SystemExit(str(error)) from None
