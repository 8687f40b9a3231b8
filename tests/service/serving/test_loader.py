"""How a version becomes a model, and why some do not."""

import asyncio

import pytest
from onnxruntime import InferenceSession

from rbm_bundle import BundleError, ModelRepository
from rbm_service.runtime import shapes
from rbm_service.serving.loader import Loader
from rbm_service.settings import Settings
from tests.batchers import answer_of
from tests.bundles import TINY, repository_of
from tests.model_inputs import brought, model_inputs_of, row_of_every_word


def load(root, metrics, **settings):
    loader = Loader(Settings(models_dir=root, device="cpu", max_batch_rows=4, **settings), metrics)
    (name,) = loader.names_to_serve()
    return loader.load(name, loader.promoted_version(name))


def test_the_only_model_is_found_by_itself(models_dir, metrics):
    model = load(models_dir, metrics)
    assert (model.name, model.version) == ("tiny", 1)
    model.batcher.close()


def test_a_loaded_model_answers(models_dir, metrics, bundle):
    model = load(models_dir, metrics)
    model_inputs = {"features": bundle.nodes.features[:2], "positions": bundle.nodes.positions[:2]}
    answer = asyncio.run(answer_of(model.batcher, brought(model_inputs)))
    assert answer.outputs["probabilities"].sum(axis=1) == pytest.approx([1, 1])
    model.batcher.close()


def test_the_batches_of_a_sparse_model_fit_one_forward_pass(sparse_bundle, tmp_path, metrics, monkeypatch):
    repository_of(tmp_path, sparse_bundle.path)
    model = Loader(Settings(models_dir=tmp_path, device="cpu"), metrics).load("sparse", 1)
    model.metrics.show()
    monkeypatch.setattr(shapes, "MAX_FLOATS", 2 * 8 * 200 * 2)  # two rows of 200 words, ten of 40
    requests = [
        row_of_every_word(sparse_bundle),
        *(model_inputs_of(sparse_bundle, [row]) for row in (1, 2, 3)),
    ]

    async def ask():
        await asyncio.gather(*(model.batcher.submit(brought(model_inputs)) for model_inputs in requests))

    asyncio.run(ask())
    assert metrics.registry.get_sample_value("rbm_batch_rows_sum", {"model_name": "sparse"}) == 4
    assert model.metrics.executions.value == 2
    model.batcher.close()


def test_an_empty_repository_is_refused(tmp_path, metrics):
    with pytest.raises(BundleError, match=r"expected a published model: .*, got none"):
        load(tmp_path, metrics)


def test_two_models_need_a_name(tmp_path, metrics):
    repository = ModelRepository(tmp_path)
    for name in ("one", "other"):
        repository.promote(name, repository.publish(TINY, name))
    with pytest.raises(BundleError, match="expected RBM_MODEL to name one of the models, got one, other"):
        load(tmp_path, metrics)
    model = load(tmp_path, metrics, model="other")
    assert model.name == "other"
    model.batcher.close()


def test_a_model_that_is_not_there_is_refused_with_those_that_are(models_dir, metrics):
    with pytest.raises(BundleError, match="expected a model named cora, got models tiny"):
        load(models_dir, metrics, model="cora")


def test_a_model_that_nobody_promoted_is_refused_with_the_command_that_would(tmp_path, metrics):
    ModelRepository(tmp_path).publish(TINY)
    with pytest.raises(BundleError, match="rbm-models promote tiny 1"):
        load(tmp_path, metrics)


@pytest.mark.parametrize("name", ["student.grouped.onnx", "positions.npy", "golden.npz", "manifest.json"])
def test_a_flipped_bit_anywhere_in_the_bundle_is_refused(tmp_path, metrics, name):
    repository = repository_of(tmp_path)
    path = repository.path_of("tiny", 1) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=name):
        load(tmp_path, metrics)


def test_a_rebuilt_model_is_another_one_of_the_same_version_whatever_is_promoted(tmp_path, metrics):
    repository = repository_of(tmp_path)
    former = load(tmp_path, metrics)
    repository.promote("tiny", repository.publish(TINY))
    rebuilt = Loader(Settings(models_dir=tmp_path, device="cpu"), metrics).load("tiny", 1)
    assert rebuilt.version == former.version == 1
    assert rebuilt.engine is not former.engine
    for model in (former, rebuilt):
        model.batcher.close()


def test_a_version_that_is_loaded_and_not_in_service_has_no_series(tmp_path, metrics):
    repository_of(tmp_path)
    model = Loader(Settings(models_dir=tmp_path, device="cpu"), metrics).load("tiny", 1)
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    assert [sample for sample in samples if "model_name" in sample.labels] == []
    model.batcher.close()


@pytest.mark.parametrize("max_batch_rows", [4, 64])
def test_executions_are_the_runs_of_the_session_that_requests_have_led_to(
    sparse_bundle, tmp_path, metrics, monkeypatch, max_batch_rows
):
    repository_of(tmp_path, sparse_bundle.path)
    settings = Settings(models_dir=tmp_path, device="cpu", max_batch_rows=max_batch_rows)
    monkeypatch.setattr(shapes, "MAX_FLOATS", 2 * 8 * 200 * 2)  # two rows of 200 words, ten of 40
    model = Loader(settings, metrics).load("sparse", 1)
    model.metrics.show()
    sizes, run = [], InferenceSession.run

    def counting_run(session, names, model_inputs):
        sizes.append(len(model_inputs["feature_ids"]))
        return run(session, names, model_inputs)

    monkeypatch.setattr(InferenceSession, "run", counting_run)
    rows = model_inputs_of(sparse_bundle, list(range(15)))
    asyncio.run(answer_of(model.batcher, brought(rows)))
    num_runs = len(sizes)
    model.engine.self_test(model.bundle)  # for no request
    assert num_runs > 1
    assert model.metrics.executions.value == num_runs
    value = metrics.registry.get_sample_value
    assert value("rbm_batch_rows_sum", {"model_name": "sparse"}) == 15
    assert value("rbm_batch_rows_count", {"model_name": "sparse"}) == num_runs
    model.batcher.close()
