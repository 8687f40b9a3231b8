import asyncio
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest

from rbm_bundle import ModelRepository
from rbm_service.errors import DrainingError, WarmingError
from rbm_service.inference.batch import INLINE_ROWS
from rbm_service.observability.model_metrics import ModelMetrics
from rbm_service.serving.loader import PublishedVersion, load_model
from rbm_service.serving.slot import ModelSlot
from rbm_service.settings import Settings
from tests.batchers import answer_of
from tests.bundles import TINY
from tests.model_inputs import brought


@pytest.fixture
def load(tmp_path, metrics):
    """Loads a fresh version each time."""
    repository = ModelRepository(tmp_path)

    def load():
        version = repository.publish(TINY)
        promoted = PublishedVersion("tiny", version, repository.path_of("tiny", version))
        return load_model(promoted, Settings(device="cpu", max_batch_rows=4), metrics)

    return load


@pytest.fixture
def slot(metrics):
    slot = ModelSlot("tiny", metrics)
    yield slot
    slot.close()


def rows_of(model, num_rows):
    rows = np.arange(num_rows) % model.bundle.nodes.num_nodes
    nodes = model.bundle.nodes
    return brought({"features": nodes.features_of(rows), "positions": nodes.positions_of(rows)})


def engine_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("rbm-engine")]


def shown_versions(metrics):
    (family,) = [family for family in metrics.registry.collect() if family.name == "rbm_model_info"]
    return {sample.labels["model_version"]: sample.value for sample in family.samples}


def test_an_empty_slot_has_no_model(slot):
    for ask in (slot.current, slot.lease, slot.check_ready):
        with pytest.raises(WarmingError):
            ask()


def test_readiness_follows_the_slot(slot, load, metrics):
    slot.swap(load())
    slot.check_ready()
    assert slot.current().name == "tiny"
    assert metrics.registry.get_sample_value("rbm_model_ready", {"model_name": "tiny"}) == 1
    slot.close()
    for ask in (slot.current, slot.lease, slot.check_ready):
        with pytest.raises(DrainingError):
            ask()
    assert metrics.registry.get_sample_value("rbm_model_ready", {"model_name": "tiny"}) == 0


def test_a_draining_slot_is_not_ready_and_leases_on(slot, load, metrics):
    slot.swap(load())
    slot.begin_drain()
    with pytest.raises(DrainingError):
        slot.check_ready()
    assert metrics.registry.get_sample_value("rbm_model_ready", {"model_name": "tiny"}) == 0
    with slot.lease() as model:
        assert model.version == 1
        assert slot.is_busy
    assert not slot.is_busy


def test_new_leases_are_of_the_new_model_and_old_ones_stay_with_the_old_which_computes_them(slot, load):
    async def scenario():
        slot.swap(load())
        with slot.lease() as old:
            slot.swap(load())
            with slot.lease() as new:
                assert (old.version, new.version) == (1, 2)
            answer = await old.batcher.submit(rows_of(old, INLINE_ROWS + 1))
        with pytest.raises(DrainingError):
            await old.batcher.submit(rows_of(old, 1))
        return answer

    assert asyncio.run(scenario()).outputs["probabilities"].shape == (INLINE_ROWS + 1, 3)


def test_a_replaced_model_leaves_neither_memory_nor_thread_once_its_last_lease_ends(slot, load):
    async def scenario():
        slot.swap(load())
        with slot.lease() as model:
            await model.batcher.submit(rows_of(model, INLINE_ROWS + 1))
            engine = weakref.ref(model.engine)
            slot.swap(load())
        assert len(engine_threads()) == 0
        del model
        await asyncio.sleep(0)  # what the loop still holds of the last batch
        return engine

    assert asyncio.run(scenario())() is None


def test_only_the_model_in_service_is_shown(slot, load, metrics):
    for version in ("1", "2", "3"):
        slot.swap(load())
        assert shown_versions(metrics) == {version: 1}


def test_the_series_of_the_last_two_versions_are_kept(slot, load, metrics):
    def has(version):
        labels = {"model_name": "tiny", "model_version": version}
        return metrics.registry.get_sample_value("rbm_inference_requests_total", labels) is not None

    for _ in range(3):
        slot.swap(load())
    assert [has(version) for version in ("1", "2", "3")] == [False, True, True]


def test_experts_and_classes_that_a_new_model_does_not_have_are_no_longer_counted(slot, load, metrics):
    def labels_of(name, label):
        (family,) = [family for family in metrics.registry.collect() if family.name == name]
        return {sample.labels[label] for sample in family.samples}

    slot.swap(load())
    model = load()
    slot.swap(replace(model, metrics=ModelMetrics(metrics, "tiny", "2", ("red", "green"), (3,))))
    assert labels_of("rbm_expert_selected", "layer") == {"0"}
    assert labels_of("rbm_expert_selected", "expert") == {"0", "1", "2"}
    assert labels_of("rbm_prediction_class", "label") == {"red", "green"}
    assert labels_of("rbm_confidence", "label") == {"red", "green"}


def test_a_model_that_comes_after_the_end_is_closed(slot, load):
    slot.close()
    model = load()
    slot.swap(model)
    with pytest.raises(DrainingError):
        slot.current()
    with pytest.raises(DrainingError):
        asyncio.run(answer_of(model.batcher, rows_of(model, 1)))
