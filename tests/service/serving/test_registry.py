import asyncio

import pytest

from rbm_service.errors import DrainingError, UnknownModelError, WarmingError
from rbm_service.inference.batch import INLINE_ROWS
from rbm_service.serving.registry import ModelRegistry
from tests.batchers import answer_of
from tests.model_inputs import brought


@pytest.fixture
def models(metrics):
    models = ModelRegistry(metrics)
    models.expect(["one", "other"])
    yield models
    models.close()


def names_in(metrics):
    """Names of the models that any series speaks of."""
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    return {sample.labels["model_name"] for sample in samples if "model_name" in sample.labels}


def large(model):
    """More rows than run on the loop."""
    rows, nodes = [0] * (INLINE_ROWS + 1), model.bundle.nodes
    return brought({"features": nodes.features[rows], "positions": nodes.positions[rows]})


def test_the_first_that_was_expected_is_for_requests_that_name_none(models, load):
    models.swap(load("other"))
    models.swap(load("one"))
    assert [models.current(name).name for name in (None, "other")] == ["one", "other"]
    assert [model.name for model in models.in_service] == ["one", "other"]


def test_the_order_is_that_of_the_settings_then_by_name_whatever_came_last(models, load):
    async def scenario():
        for name in ("zebra", "other", "antelope", "one"):
            models.swap(load(name))
        assert models.names == ["one", "other", "antelope", "zebra"]
        for name in ("one", "other", "antelope"):
            await models.remove(name)
            models.swap(load(name))
            assert [model.name for model in models.in_service] == ["one", "other", "antelope", "zebra"]
            assert models.current().name == "one"

    asyncio.run(scenario())


def test_without_the_default_requests_that_name_none_are_told_what_is_in_service(models, load):
    models.swap(load("one"))
    models.swap(load("other"))
    asyncio.run(models.remove("one"))
    for ask in (models.current, models.lease):
        with pytest.raises(UnknownModelError, match=r"default model 'one' is not in service; .* other 1"):
            ask()
    models.check_ready()
    asyncio.run(models.remove("other"))
    for ask in (models.current, models.lease, models.check_ready):
        with pytest.raises(WarmingError):
            ask()


def test_nothing_is_ready_before_all_are_there(models, load, metrics):
    for name in ("one", "other"):
        with pytest.raises(WarmingError):
            models.check_ready()
        models.swap(load(name))
    models.check_ready()
    ready = [
        metrics.registry.get_sample_value("rbm_model_ready", {"model_name": name}) for name in models.names
    ]
    assert ready == [1, 1]


def test_without_any_model_the_answer_is_to_wait(metrics):
    empty = ModelRegistry(metrics)
    for ask in (empty.current, empty.lease, empty.check_ready):
        with pytest.raises(WarmingError):
            ask()


def test_a_model_or_version_not_in_service_is_refused_with_those_that_are(models, load):
    models.swap(load("one"))
    models.swap(load("other"))
    for name, version in (("third", None), ("one", 2), (None, 2)):
        with pytest.raises(UnknownModelError, match="in service: one 1, other 1"):
            models.lease(name, version)
    with models.lease("other", 1) as model:
        assert (model.name, model.version) == ("other", 1)


def test_a_name_that_a_caller_made_up_is_shown_in_short(models, load):
    models.swap(load("one"))
    with pytest.raises(UnknownModelError) as refusal:
        models.lease("x" * 10_000)
    assert len(str(refusal.value)) < 200


def test_a_version_that_a_caller_made_up_is_shown_in_short(models, load):
    models.swap(load("one"))
    for ask in (models.current, models.lease):
        with pytest.raises(
            UnknownModelError, match=r"version 1{50}\.\.\. of one is not in service"
        ) as refusal:
            ask("one", int("1" * 4300))
        assert len(str(refusal.value)) < 200


def test_a_removed_model_answers_what_it_has_begun_and_leaves_no_series(models, load, metrics):
    async def scenario():
        models.swap(load("one"))
        models.swap(load("other"))
        with models.lease("one") as model:
            removing = asyncio.create_task(models.remove("one"))
            await asyncio.sleep(0)
            with pytest.raises(UnknownModelError, match="no model 'one' is in service; in service: other 1"):
                models.lease("one")
            assert models.is_busy
            assert [leaving.name for leaving in models.leaving] == ["one"]
            answer = await model.batcher.submit(large(model))
            assert not removing.done()
        await removing
        assert not models.leaving
        return answer

    assert len(asyncio.run(scenario()).class_index) == INLINE_ROWS + 1
    models.check_ready()
    assert names_in(metrics) == {"other"}


def test_a_drain_ends_all_of_them_those_that_leave_too(models, load):
    async def scenario():
        models.swap(load("one"))
        models.swap(load("other"))
        with models.lease("one") as leaving, models.lease("other") as other:
            removing = asyncio.create_task(models.remove("one"))
            await asyncio.sleep(0)
            models.begin_drain()
            with pytest.raises(DrainingError):
                models.check_ready()
            with models.lease("other"):
                pass
            models.close()
            with pytest.raises(DrainingError):
                models.lease("other")
            models.abandon()
            for model in (leaving, other):
                with pytest.raises(DrainingError):
                    await model.batcher.submit(large(model))
        await removing

    asyncio.run(scenario())


def test_a_model_that_comes_when_all_end_is_closed(models, load):
    models.begin_drain()
    model = load("one")
    models.swap(model)
    with pytest.raises(DrainingError):
        asyncio.run(answer_of(model.batcher, large(model)))
