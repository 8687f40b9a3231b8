import asyncio
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest

from rbm_service.errors import DrainingError, WarmingError
from rbm_service.inference.batch import INLINE_ROWS
from rbm_service.observability.model_metrics import ModelMetrics
from rbm_service.serving.registry import ModelRegistry
from tests.batchers import answer_of
from tests.model_inputs import brought


@pytest.fixture
def models(metrics):
    models = ModelRegistry(metrics)
    models.expect(["tiny"])
    yield models
    models.close()


def rows_of(model, num_rows):
    rows = np.arange(num_rows) % model.bundle.nodes.num_nodes
    nodes = model.bundle.nodes
    return brought({"features": nodes.features_of(rows), "positions": nodes.positions_of(rows)})


def engine_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("rbm-engine")]


def shown_versions(metrics):
    (family,) = [family for family in metrics.registry.collect() if family.name == "rbm_model_info"]
    return {sample.labels["model_version"]: sample.value for sample in family.samples}


def test_a_model_that_is_expected_is_not_there_yet(models):
    for ask in (models.current, models.lease, models.check_ready):
        with pytest.raises(WarmingError):
            ask()


def test_readiness_follows_the_model(models, load, metrics):
    models.swap(load())
    models.check_ready()
    assert models.current().name == "tiny"
    assert metrics.registry.get_sample_value("rbm_model_ready", {"model_name": "tiny"}) == 1
    models.close()
    for ask in (models.current, models.lease, models.check_ready):
        with pytest.raises(DrainingError):
            ask()
    assert metrics.registry.get_sample_value("rbm_model_ready", {"model_name": "tiny"}) == 0


def test_a_draining_model_is_not_ready_and_leases_on(models, load, metrics):
    models.swap(load())
    models.begin_drain()
    with pytest.raises(DrainingError):
        models.check_ready()
    assert metrics.registry.get_sample_value("rbm_model_ready", {"model_name": "tiny"}) == 0
    with models.lease() as model:
        assert model.version == 1
        assert models.is_busy
    assert not models.is_busy


def test_new_leases_are_of_the_new_model_and_old_ones_stay_with_the_old_which_computes_them(models, load):
    async def scenario():
        models.swap(load())
        with models.lease() as old:
            models.swap(load())
            with models.lease() as new:
                assert (old.version, new.version) == (1, 2)
            answer = await old.batcher.submit(rows_of(old, INLINE_ROWS + 1))
        with pytest.raises(DrainingError):
            await old.batcher.submit(rows_of(old, 1))
        return answer

    assert asyncio.run(scenario()).outputs["probabilities"].shape == (INLINE_ROWS + 1, 3)


def test_a_replaced_model_leaves_neither_memory_nor_thread_once_its_last_lease_ends(models, load):
    async def scenario():
        models.swap(load())
        with models.lease() as model:
            await model.batcher.submit(rows_of(model, INLINE_ROWS + 1))
            engine = weakref.ref(model.engine)
            models.swap(load())
        assert len(engine_threads()) == 0
        del model
        await asyncio.sleep(0)  # what the loop still holds of the last batch
        return engine

    assert asyncio.run(scenario())() is None


def test_only_the_model_in_service_is_shown(models, load, metrics):
    for version in ("1", "2", "3"):
        models.swap(load())
        assert shown_versions(metrics) == {version: 1}


def test_the_series_of_the_last_two_versions_are_kept(models, load, metrics):
    def has(version):
        labels = {"model_name": "tiny", "model_version": version}
        return metrics.registry.get_sample_value("rbm_inference_requests_total", labels) is not None

    for _ in range(3):
        models.swap(load())
    assert [has(version) for version in ("1", "2", "3")] == [False, True, True]


def test_experts_and_classes_that_a_new_model_does_not_have_are_no_longer_counted(models, load, metrics):
    def labels_of(name, label):
        (family,) = [family for family in metrics.registry.collect() if family.name == name]
        return {sample.labels[label] for sample in family.samples}

    models.swap(load())
    model = load()
    models.swap(replace(model, metrics=ModelMetrics(metrics, "tiny", "2", ("red", "green"), (3,))))
    assert labels_of("rbm_expert_selected", "layer") == {"0"}
    assert labels_of("rbm_expert_selected", "expert") == {"0", "1", "2"}
    assert labels_of("rbm_prediction_class", "label") == {"red", "green"}
    assert labels_of("rbm_confidence", "label") == {"red", "green"}


def test_a_model_that_comes_after_the_end_is_closed(models, load):
    models.close()
    model = load()
    models.swap(model)
    with pytest.raises(DrainingError):
        models.current()
    with pytest.raises(DrainingError):
        asyncio.run(answer_of(model.batcher, rows_of(model, 1)))
