"""What merging and taking apart costs: rows through the batcher over the same rows straight to the engine.

At saturation, that is while more requests wait all the time than fit a batch.
"""

import asyncio
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from rbm_bundle import Bundle
from rbm_bundle.nodes import UNKNOWN
from rbm_service.inference.batch import InputGatherer
from rbm_service.inference.batcher import Batcher
from rbm_service.inference.preprocessing import RequestRows
from rbm_service.observability.metrics import Metrics
from rbm_service.observability.model_metrics import ModelMetrics
from rbm_service.runtime.engine import Engine
from rbm_service.runtime.tensors import Tensors
from tests.load.production import NUM_FEATURES, POSITION_WIDTH, write_production_bundle
from tests.load.timing import ROUNDS, times_faster

BATCH_ROWS: Final = 256
REQUEST_ROWS: Final = 16
NUM_BATCHES: Final = 40
IN_FLIGHT: Final = 64  # requests: four batches
OUTPUTS: Final = ("probabilities", "experts")


def batcher_ratio() -> dict[str, float]:
    """Measure.

    Returns:
        `batcher_over_bare_session`: time of requests of 16 rows, 64 of them in flight all the time, run in
        batches of 256, over the time of the engine for the same batches.
    """
    with tempfile.TemporaryDirectory() as name:
        bundle = write_production_bundle(Path(name) / "bundle")
        engine = Engine(bundle, "cpu", intra_op_threads=1)
        engine.warm_up(BATCH_ROWS)
        manifest = bundle.manifest
        metrics = ModelMetrics(
            Metrics(), "production", "1", manifest.labels, manifest.architecture.num_experts
        )
        return {"batcher_over_bare_session": asyncio.run(_ratio(engine, bundle, metrics))}


async def _ratio(engine: Engine, bundle: Bundle, metrics: ModelMetrics) -> float:
    batcher = Batcher(
        engine.run,
        InputGatherer(bundle),
        metrics,
        max_batch_rows=BATCH_ROWS,
        max_queued_rows=IN_FLIGHT * REQUEST_ROWS,
    )
    batch = _rows(BATCH_ROWS)
    request = RequestRows([UNKNOWN] * REQUEST_ROWS, _rows(REQUEST_ROWS), 0, ["supplied"] * REQUEST_ROWS)
    merged, bare = [], []
    for _ in range(ROUNDS):
        merged.append(await _merged_seconds(batcher, request))
        bare.append(await asyncio.to_thread(partial(_bare_seconds, engine, batch)))
    batcher.close()
    return round(times_faster(bare, merged), 3)


async def _merged_seconds(batcher: Batcher, request: RequestRows) -> float:
    async def ask() -> None:
        for _ in range(NUM_BATCHES * BATCH_ROWS // REQUEST_ROWS // IN_FLIGHT):
            await batcher.submit(request)

    started = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(IN_FLIGHT)))
    return time.perf_counter() - started


def _bare_seconds(engine: Engine, batch: Tensors) -> float:
    started = time.perf_counter()
    for _ in range(NUM_BATCHES):
        engine.run(batch, OUTPUTS)
    return time.perf_counter() - started


def _rows(num_rows: int) -> Tensors:
    generator = np.random.default_rng(0)
    widths = {"features": NUM_FEATURES, "positions": POSITION_WIDTH}
    return {name: generator.standard_normal((num_rows, width), np.float32) for name, width in widths.items()}
