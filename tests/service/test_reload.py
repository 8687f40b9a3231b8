import asyncio
import os
import threading

import httpx2
import pytest
from structlog.testing import capture_logs

from rbm_bundle import BundleError, ModelRepository, ShadowSpec
from rbm_service import shapes
from rbm_service.app import create_app
from rbm_service.engine import Engine
from rbm_service.errors import ConflictError, DrainingError, ModelRefusedError, UnknownModelError
from rbm_service.loading import find_promoted, load_model, names_to_serve, rebuild_model
from rbm_service.models import ServedModels
from rbm_service.reload import Reloader
from rbm_service.settings import Settings
from tests.bundles import TINY, with_other_answers
from tests.feeds import feeds_of, row_of_every_word


def load(root, metrics, **settings):
    settings = Settings(models_dir=root, device="cpu", max_batch_rows=4, **settings)
    (name,) = names_to_serve(settings)
    return load_model(find_promoted(root, name), settings, metrics)


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


def test_the_batches_of_a_sparse_model_fit_one_forward_pass(sparse_bundle, tmp_path, metrics, monkeypatch):
    repository = ModelRepository(tmp_path)
    repository.promote("sparse", repository.publish(sparse_bundle.path))
    model = load_model(
        find_promoted(tmp_path, "sparse"), Settings(models_dir=tmp_path, device="cpu"), metrics
    )
    monkeypatch.setattr(shapes, "MAX_FLOATS", 2 * 8 * 200 * 2)  # two rows of 200 words, ten of 40
    requests = [row_of_every_word(sparse_bundle), *(feeds_of(sparse_bundle, [row]) for row in (1, 2, 3))]

    async def ask():
        await asyncio.gather(*(model.batcher.submit(feeds, 1) for feeds in requests))

    asyncio.run(ask())
    assert model.metrics.batch_rows._sum.get() == 4
    assert model.metrics.executions._value.get() == 2
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


class Following:
    """A repository with version 1 in service, and what follows its promotions; looks when it is told to."""

    def __init__(self, root, metrics, **settings):
        self.repository = ModelRepository(root)
        self.folder = root / "tiny"
        self.metrics = metrics
        self.publish(promote=True)
        settings = Settings(models_dir=root, device="cpu", max_batch_rows=4, **settings)
        self.models = ServedModels(metrics)
        self.reloader = Reloader(settings, metrics, self.models)
        self.reloader.start()

    def publish(self, bundle=TINY, *, promote=False):
        version = self.repository.publish(bundle)
        if promote:
            self.repository.promote("tiny", version)
        return version

    def publish_broken(self):
        version = self.publish(promote=True)
        path = self.folder / str(version) / "golden.npz"
        path.write_bytes(path.read_bytes()[:-1])
        return version

    def look(self):
        """The log lines of one look."""
        with capture_logs() as lines:
            asyncio.run(self.reloader.look())
        return [line["event"] for line in lines]

    def outcomes(self):
        value = self.metrics.registry.get_sample_value
        return {
            outcome: value("rbm_model_loads_total", {"model_name": "tiny", "outcome": outcome})
            for outcome in ("loaded", "refused")
        }

    @property
    def version(self):
        return self.models.current().version


@pytest.fixture
def start_following(tmp_path, metrics):
    started = []

    def start(**settings):
        started.append(Following(tmp_path / "models", metrics, **settings))
        return started[-1]

    yield start
    for following in started:
        following.reloader.close()
        following.models.close()


@pytest.fixture
def following(start_following):
    return start_following()


@pytest.fixture
def explicit(start_following, tmp_path):
    return start_following(
        model_control="explicit", admin_key_file=tmp_path / "key", reload_poll_seconds=0.01
    )


TINY_MODEL = {"model_name": "tiny"}
LOADED = ["loading model", "model loaded"]
REFUSED = ["promotion refused, the old model stays"]


def test_a_promoted_version_is_taken_up_once(following, metrics):
    assert following.look() == []
    following.publish(promote=True)
    assert following.look() == LOADED
    assert following.version == 2
    assert following.look() == []
    assert following.outcomes() == {"loaded": 2, "refused": 0}
    assert metrics.registry.get_sample_value("rbm_model_load_duration_seconds_count", TINY_MODEL) == 2


def test_a_published_version_that_nobody_promoted_is_left_alone(following):
    following.publish()
    assert following.look() == []
    assert following.version == 1


def test_a_rollback_is_a_promotion(following):
    following.publish(promote=True)
    following.look()
    following.repository.rollback("tiny")
    assert following.look() == LOADED
    assert following.version == 1


def test_promoting_what_is_in_service_changes_nothing(following):
    model = following.models.current()
    following.repository.promote("tiny", 1)
    assert following.look() == []
    assert following.models.current() is model


def test_another_bundle_under_the_number_in_service_is_taken_up(following, bundle, tmp_path):
    other = with_other_answers(bundle, tmp_path / "other", seed=1)
    (following.folder / "1").rename(tmp_path / "taken away")
    assert following.publish(other.path) == 1
    assert following.look() == LOADED
    assert following.models.current().bundle.manifest.bundle_id == other.manifest.bundle_id


def test_a_refused_version_leaves_the_old_model_serving_and_is_refused_once(following):
    following.publish_broken()
    with capture_logs() as lines:
        asyncio.run(following.reloader.look())
    assert "golden.npz: found" in lines[-1]["reason"]
    assert following.look() == []
    assert following.version == 1
    assert following.outcomes() == {"loaded": 1, "refused": 1}
    following.publish(promote=True)
    assert following.look() == LOADED
    assert following.version == 3


def test_a_refused_version_that_is_promoted_again_is_tried_again(following):
    version = following.publish_broken()
    golden = following.folder / str(version) / "golden.npz"
    os.utime(following.folder / "CURRENT", ns=(0, 0))  # the clock of the file system is a coarse one
    following.look()
    golden.write_bytes((TINY / "golden.npz").read_bytes())
    assert following.look() == []
    following.repository.promote("tiny", version)
    assert following.look() == LOADED
    assert following.version == version


def test_a_refused_version_whose_manifest_changes_is_tried_again(following):
    version = following.publish(promote=True)
    manifest = following.folder / str(version) / "manifest.json"
    manifest.write_bytes(b"{}")
    os.utime(manifest, ns=(0, 0))
    assert following.look() == REFUSED
    assert following.look() == []
    manifest.write_bytes((TINY / "manifest.json").read_bytes())
    assert following.look() == LOADED


@pytest.mark.parametrize("content", [None, b"", b"seven", b"9", b"../1", b"1\0", b"\xff" * 100, b"1" * 5000])
def test_a_current_that_names_no_version_is_told_once_and_the_old_model_serves_on(following, content):
    current = following.folder / "CURRENT"
    current.unlink()
    if content is not None:
        current.write_bytes(content)
    assert following.look() == REFUSED
    assert following.look() == []
    assert following.version == 1
    following.publish(promote=True)
    assert following.look() == LOADED


def test_requests_are_answered_while_a_new_model_warms_up(following, metrics, monkeypatch):
    entered, opened = threading.Event(), threading.Event()
    warm_up = Engine.warm_up

    def slow_warm_up(engine, max_rows):
        entered.set()
        assert opened.wait(30)
        warm_up(engine, max_rows)

    async def scenario():
        app = create_app(
            Settings(models_dir=following.repository.root, device="cpu", reload_poll_seconds=0.01)
        )
        transport = httpx2.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url="http://test") as client,
        ):
            monkeypatch.setattr(Engine, "warm_up", slow_warm_up)
            following.publish(promote=True)
            await asyncio.to_thread(entered.wait, 30)
            during = await client.post("/classify", json={"node_ids": [100]})
            opened.set()
            while app.state.parts.models.current().version == 1:
                await asyncio.sleep(0)
            return during, await client.post("/classify", json={"node_ids": [100]})

    during, after = asyncio.run(scenario())
    assert [answer.json()["model"]["version"] for answer in (during, after)] == [1, 2]


def test_polling_can_be_switched_off_and_a_call_is_heeded_all_the_same(following):
    async def scenario():
        app = create_app(Settings(models_dir=following.repository.root, device="cpu", reload_poll_seconds=0))
        async with app.router.lifespan_context(app):
            parts = app.state.parts
            await asyncio.sleep(0)
            await parts.reloader.look()  # waits for the look at the beginning
            following.publish(promote=True)
            await asyncio.sleep(0.1)
            before = parts.models.current().version
            parts.reloader.call()
            while parts.models.current().version == before:
                await asyncio.sleep(0.01)
            return before

    assert asyncio.run(scenario()) == 1


def index_of(following):
    return [(row.name, row.version, row.state) for row in asyncio.run(following.reloader.index())]


def test_each_of_several_models_is_followed_by_itself(tmp_path, metrics):
    repository = ModelRepository(tmp_path)
    for name in ("one", "other"):
        repository.promote(name, repository.publish(TINY, name))
    settings = Settings(models_dir=tmp_path, device="cpu", max_batch_rows=4, model="other, one")
    models = ServedModels(metrics)
    reloader = Reloader(settings, metrics, models)
    reloader.start()
    assert [model.name for model in models.in_service] == ["other", "one"]
    (tmp_path / "other" / "CURRENT").write_text("7")
    repository.promote("one", repository.publish(TINY, "one"))
    asyncio.run(reloader.look())
    assert [(model.name, model.version) for model in models.in_service] == [("other", 1), ("one", 2)]
    value = metrics.registry.get_sample_value
    refused = [value("rbm_model_loads_total", {"model_name": n, "outcome": "refused"}) for n in models.names]
    assert refused == [1, 0]
    reloader.close()
    models.close()


def test_a_rebuilt_model_is_another_one_of_the_same_version_whatever_is_promoted(tmp_path, metrics):
    repository = ModelRepository(tmp_path)
    repository.promote("tiny", repository.publish(TINY))
    former = load(tmp_path, metrics)
    repository.promote("tiny", repository.publish(TINY))
    rebuilt = rebuild_model(former, Settings(models_dir=tmp_path, device="cpu"), metrics)
    assert rebuilt.version == former.version == 1
    assert rebuilt.engine is not former.engine
    for model in (former, rebuilt):
        model.batcher.close()


def test_one_change_happens_at_a_time(following, monkeypatch):
    """Two promotions at once would otherwise both find version 1 in service."""
    for _ in range(2):
        following.publish()

    async def scenario():
        promote = following.reloader.promote
        return await asyncio.gather(promote("tiny", 2), promote("tiny", 3), promote("tiny", 3))

    changes = [(change.former_version, change.version) for change in asyncio.run(scenario())]
    assert changes == [(1, 2), (2, 3), (3, 3)]
    assert following.outcomes() == {"loaded": 3, "refused": 0}


def test_the_index_tells_what_is_served_what_was_refused_and_what_else_there_is(following):
    following.repository.publish(TINY, "other")
    version = following.publish_broken()
    following.look()
    rows = asyncio.run(following.reloader.index())
    assert [(row.name, row.version, row.state) for row in rows] == [
        ("tiny", 1, "READY"),
        ("tiny", version, "UNAVAILABLE"),
        ("other", None, "UNAVAILABLE"),
    ]
    assert "golden.npz: found" in rows[1].reason
    following.publish(promote=True)
    following.look()
    assert index_of(following) == [("tiny", 3, "READY"), ("other", None, "UNAVAILABLE")]


def test_models_are_loaded_and_unloaded_by_command(explicit, metrics):
    explicit.repository.promote("other", explicit.repository.publish(TINY, "other"))
    change = asyncio.run(explicit.reloader.load("other"))
    assert (change.name, change.version, change.former_version) == ("other", 1, None)
    assert index_of(explicit) == [("tiny", 1, "READY"), ("other", 1, "READY")]
    asyncio.run(explicit.reloader.unload("tiny"))
    assert index_of(explicit) == [("other", 1, "READY"), ("tiny", None, "UNAVAILABLE")]
    assert explicit.look() == []
    change = asyncio.run(explicit.reloader.load("tiny"))
    assert (change.version, change.former_version) == (1, None)


def test_a_command_for_a_model_that_is_not_there_is_refused(explicit):
    for command in (explicit.reloader.load, explicit.reloader.unload):
        with pytest.raises(UnknownModelError, match="'cora'"):
            asyncio.run(command("cora"))


def test_a_model_that_does_not_load_by_command_is_not_there(explicit):
    explicit.repository.publish(TINY, "other")
    with pytest.raises(ModelRefusedError, match="rbm-models promote other 1"):
        asyncio.run(explicit.reloader.load("other"))
    assert [model.name for model in explicit.models.in_service] == ["tiny"]
    explicit.models.check_ready()


def test_models_come_and_go_by_command_only_where_that_is_wanted(following):
    for command in (following.reloader.load, following.reloader.unload):
        with pytest.raises(ConflictError, match="RBM_MODEL_CONTROL=explicit"):
            asyncio.run(command("tiny"))


def test_under_explicit_control_nothing_is_polled(explicit):
    async def scenario():
        following = asyncio.create_task(explicit.reloader.follow())
        await asyncio.sleep(0)
        await explicit.reloader.look()  # waits for the look at the beginning
        explicit.publish(promote=True)
        await asyncio.sleep(0.2)
        before = explicit.version
        explicit.reloader.call()
        while explicit.version == before:
            await asyncio.sleep(0.01)
        following.cancel()
        await asyncio.wait([following])
        return before

    assert asyncio.run(scenario()) == 1


def test_nothing_changes_any_more_once_the_service_drains(following):
    following.publish(promote=True)
    following.repository.set_shadow("tiny", ShadowSpec(2, 1.0))
    following.models.begin_drain()
    assert following.look() == []
    with pytest.raises(DrainingError):
        asyncio.run(following.reloader.promote("tiny", 2))
    assert following.version == 1


def shadow_in(following):
    shadow = following.models.shadow_of("tiny")
    return shadow and (shadow.version, shadow.share)


def test_a_shadow_is_cast_changed_and_taken_away_by_a_file(following):
    following.publish()
    following.publish()
    assert (following.look(), shadow_in(following)) == ([], None)
    for shadow in (ShadowSpec(2, 0.5), ShadowSpec(2, 0.25), ShadowSpec(3, 0.25)):
        following.repository.set_shadow("tiny", shadow)
        assert following.look() == ["shadow loaded"]
        assert shadow_in(following) == (shadow.version, shadow.share)
        assert following.look() == []
    following.repository.clear_shadow("tiny")
    assert (following.look(), shadow_in(following)) == ([], None)


def test_a_version_in_service_is_not_its_own_shadow_and_one_again_when_it_leaves(following):
    following.publish()
    following.repository.set_shadow("tiny", ShadowSpec(2, 1.0))
    following.look()
    following.repository.promote("tiny", 2)
    assert (following.look(), shadow_in(following)) == (LOADED, None)
    following.repository.promote("tiny", 1)
    assert (following.look(), shadow_in(following)) == ([*LOADED, "shadow loaded"], (2, 1.0))


def test_a_shadow_stays_with_the_next_version_in_service(following):
    following.publish()
    following.repository.set_shadow("tiny", ShadowSpec(2, 1.0))
    following.look()
    shadow = following.models.shadow_of("tiny")
    following.publish(promote=True)
    assert following.look() == LOADED
    assert following.models.shadow_of("tiny") is shadow


@pytest.mark.parametrize("content", [b"2 0", b"9 0.5", b"2"])
def test_a_shadow_that_is_refused_is_refused_once_and_the_model_answers_alone(following, content):
    following.publish()
    following.repository.set_shadow("tiny", ShadowSpec(2, 1.0))
    following.look()
    (following.folder / "SHADOW").write_bytes(content)
    assert following.look() == ["shadow refused, the model answers without one"]
    assert (following.look(), shadow_in(following)) == ([], None)
    assert following.version == 1


def test_a_broken_version_is_no_shadow(following):
    version = following.publish()
    following.repository.set_shadow("tiny", ShadowSpec(version, 1.0))
    golden = following.folder / str(version) / "golden.npz"
    golden.write_bytes(golden.read_bytes()[:-1])
    with capture_logs() as lines:
        asyncio.run(following.reloader.look())
    assert "golden.npz: found" in lines[-1]["reason"]
    assert shadow_in(following) is None
