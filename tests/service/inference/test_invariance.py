"""A row's answer does not depend on who shares its batch, or where in it the row is."""

import asyncio

import numpy as np
import pytest

from rbm_service.runtime.engine import Engine
from rbm_service.runtime.tensors import padded_width
from rbm_service.serving.loader import Loader
from rbm_service.settings import Settings
from tests.bundles import repository_of
from tests.model_inputs import brought, known, model_inputs_of, random_inputs

CLOSE = 1e-6
OUTPUTS = ("probabilities", "experts")
NUM_ROWS = 100


@pytest.fixture
def model(any_bundle, tmp_path, metrics):
    repository_of(tmp_path, any_bundle.path)
    settings = Settings(models_dir=tmp_path, device="cpu")
    model = Loader(settings, metrics).load(any_bundle.manifest.name, 1)
    yield model
    model.batcher.close()


def answers_of(model, groups):
    """The probabilities of each row, requests of these rows being sent together: by turns as the caller's own
    rows and as known nodes."""

    def request(turn, rows):
        own = model_inputs_of(model.bundle, rows)
        return brought(own) if turn % 2 else known(rows, padded_width(own))

    async def ask():
        requests = [model.batcher.submit(request(turn, rows)) for turn, rows in enumerate(groups)]
        return await asyncio.gather(*requests)

    return np.concatenate([answer.outputs["probabilities"] for answer in asyncio.run(ask())])


@pytest.mark.parametrize("seed", range(5))
def test_a_row_gets_the_same_answer_whoever_shares_its_batch(model, seed):
    rng = np.random.default_rng(seed)
    num_nodes = model.bundle.nodes.num_nodes
    before = model.metrics.executions.value
    rows = rng.integers(0, num_nodes, NUM_ROWS)
    groups = np.split(rows, np.sort(rng.choice(np.arange(1, NUM_ROWS), 20, replace=False)))
    together = answers_of(model, groups)
    assert model.metrics.executions.value == before + 1  # they did share a batch
    alone = np.concatenate([answers_of(model, [[row]]) for row in range(num_nodes)])
    np.testing.assert_allclose(together, alone[rows], rtol=0, atol=CLOSE)


def test_the_order_of_rows_changes_no_answer(any_bundle):
    engine = Engine(any_bundle, "cpu", 1)
    model_inputs = random_inputs(any_bundle, NUM_ROWS)
    order = np.random.default_rng(1).permutation(NUM_ROWS)
    straight = engine.run(model_inputs, OUTPUTS)
    mixed = engine.run({name: rows[order] for name, rows in model_inputs.items()}, OUTPUTS)
    np.testing.assert_allclose(mixed["probabilities"], straight["probabilities"][order], rtol=0, atol=CLOSE)
    assert (mixed["experts"] == straight["experts"][order]).all()
