import asyncio

import pytest

from rbm_bundle import BundleError, ModelRepository
from rbm_service.errors import WarmingError
from rbm_service.settings import Settings
from rbm_service.slot import ModelSlot, load_model
from tests.bundles import TINY


def load(root, metrics, **settings):
    return load_model(Settings(models_dir=root, device="cpu", max_batch_rows=4, **settings), metrics)


def test_the_only_model_is_found_by_itself(models_dir, metrics):
    model = load(models_dir, metrics)
    assert (model.name, model.version) == ("tiny", 1)
    model.batcher.close()


def test_a_loaded_model_answers(models_dir, metrics, bundle):
    model = load(models_dir, metrics)
    feeds = {"features": bundle.nodes.features[:2], "positions": bundle.nodes.positions[:2]}
    answer = asyncio.run(model.batcher.submit(feeds, 2))
    assert answer.outputs["probabilities"].sum(axis=1) == pytest.approx([1, 1])
    model.batcher.close()


def test_an_empty_repository_is_refused(tmp_path, metrics):
    with pytest.raises(BundleError, match="found no model; wanted a published one"):
        load(tmp_path, metrics)


def test_two_models_need_a_name(tmp_path, metrics):
    repository = ModelRepository(tmp_path)
    for name in ("one", "other"):
        repository.promote(name, repository.publish(TINY, name))
    with pytest.raises(BundleError, match="found models one, other; wanted RBM_MODEL to name one of them"):
        load(tmp_path, metrics)
    model = load(tmp_path, metrics, model="other")
    assert model.name == "other"
    model.batcher.close()


def test_a_model_that_is_not_there_is_refused_with_those_that_are(models_dir, metrics):
    with pytest.raises(BundleError, match="found models: tiny; wanted a model named cora"):
        load(models_dir, metrics, model="cora")


def test_a_model_that_nobody_promoted_is_refused_with_the_command_that_would(tmp_path, metrics):
    ModelRepository(tmp_path).publish(TINY)
    with pytest.raises(BundleError, match="rbm-models promote tiny 1"):
        load(tmp_path, metrics)


@pytest.mark.parametrize("name", ["student.grouped.onnx", "positions.npy", "golden.npz", "manifest.json"])
def test_a_flipped_bit_anywhere_in_the_bundle_is_refused(tmp_path, metrics, name):
    repository = ModelRepository(tmp_path)
    repository.promote("tiny", repository.publish(TINY))
    path = repository.path_of("tiny", 1) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=name):
        load(tmp_path, metrics)


def test_an_empty_slot_has_no_model(metrics):
    with pytest.raises(WarmingError):
        ModelSlot(metrics).current()


def test_readiness_follows_the_slot(models_dir, metrics):
    slot = ModelSlot(metrics)
    slot.put(load(models_dir, metrics))
    assert slot.current().name == "tiny"
    assert metrics.registry.get_sample_value("rbm_model_ready") == 1
    slot.close()
    with pytest.raises(WarmingError):
        slot.current()
    assert metrics.registry.get_sample_value("rbm_model_ready") == 0
