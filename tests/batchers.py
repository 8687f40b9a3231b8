"""Batchers that tests hold up: an engine behind a gate, and requests for it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from rbm_bundle import Bundle
from rbm_service.inference.batch import INLINE_ROWS, InputGatherer, RequestOutputs, Run
from rbm_service.inference.batcher import Batcher
from rbm_service.inference.preprocessing import RequestRows
from rbm_service.runtime.tensors import Tensors
from rbm_service.serving.model import ServedModel
from tests.gates import Gate
from tests.model_inputs import brought, model_inputs_of


class EngineGate(Gate):
    """Runs like the engine it is given, but waits inside until it is opened; keeps the sizes it was given."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.sizes: list[int] = []

    def __call__(self, model_inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        self.sizes.append(len(model_inputs["features"]))
        outputs_of_run: Tensors = super().__call__(model_inputs, outputs)
        return outputs_of_run


def inputs_of(bundle: Bundle, start: int, num_rows: int) -> Tensors:
    """The inputs of so many nodes in a row, from the first again after the last."""
    return model_inputs_of(bundle, np.arange(start, start + num_rows) % bundle.nodes.num_nodes)


def rows_of(bundle: Bundle, start: int, num_rows: int) -> RequestRows:
    """The same nodes as a request that brings all that the graph takes."""
    return brought(inputs_of(bundle, start, num_rows))


def batcher_behind(model: ServedModel, run: Run, **others: object) -> Batcher:
    """One for a model in service that runs its graph another way."""
    limits = {"max_batch_rows": 64, "max_queued_rows": 256} | others
    return Batcher(run, InputGatherer(model.bundle), model.metrics, **limits)


def table_of(seconds_per_row: float) -> dict[int, float]:
    """Batches whose time is that of their rows."""
    return {2**power: 2**power * seconds_per_row for power in range(7)}


async def answer_of(batcher: Batcher, *rows: Any, **others: Any) -> RequestOutputs:
    """What comes of rows that are submitted."""
    return await batcher.submit(*rows, **others)


async def occupy(batcher: Batcher, gate: EngineGate, bundle: Bundle) -> "asyncio.Future[RequestOutputs]":
    """A request too big to run inline, and now inside the engine thread."""
    running = batcher.submit(rows_of(bundle, 0, INLINE_ROWS + 1))
    await asyncio.to_thread(gate.entered.wait, 10)
    return running
