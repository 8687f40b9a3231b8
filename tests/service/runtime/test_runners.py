import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest

from rbm_service.errors import EngineError
from rbm_service.runtime import runners, shapes
from rbm_service.runtime.runners import NO_CAPTURE, Bucket, BucketRunner, Runner
from rbm_service.runtime.shapes import BatchShape, padding
from rbm_service.runtime.tensors import num_rows_of, padded_width, stack
from tests.model_inputs import assert_same_answers, model_inputs_of, random_inputs, row_of_every_word

OUTPUTS = ("probabilities", "experts", "weights")
SIZES = [1, 2, 3, 7, 64, 100, 200]


def session_of(bundle):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        bundle.graph_path("cuda"), options, providers=["CPUExecutionProvider"]
    )


def buckets_of(bundle, most_rows=64):
    graph = bundle.manifest.graphs["cuda"]
    runner = BucketRunner(session_of(bundle), bundle.manifest, graph)
    runner.prepare(most_rows)
    return runner


def plain_of(bundle):
    return Runner(session_of(bundle), bundle.manifest, bundle.manifest.graphs["cuda"])


class CountingSession:
    """A session that remembers the shapes it ran."""

    def __init__(self, session):
        self.session = session
        self.shapes = []

    def run(self, names, model_inputs):
        self.shapes.append(BatchShape(num_rows_of(model_inputs), padded_width(model_inputs)))
        return self.session.run(names, model_inputs)


class RecordedBucket(Bucket):
    """A bucket that remembers, for all of them, graph ids and the threads that ran."""

    graph_ids: list[int]
    threads: set[str]

    def __init__(self, *args):
        self.graph_ids.append(args[-1])
        super().__init__(*args)

    def run(self, outputs, model_inputs):
        self.threads.add(threading.current_thread().name)
        return super().run(outputs, model_inputs)


@pytest.fixture
def recorded(monkeypatch):
    RecordedBucket.graph_ids, RecordedBucket.threads = [], set()
    monkeypatch.setattr(runners, "Bucket", RecordedBucket)
    return RecordedBucket


@pytest.mark.parametrize("num_rows", SIZES)
def test_buckets_give_what_the_plain_run_gives(either_bundle, num_rows):
    model_inputs = random_inputs(either_bundle, num_rows)
    found = buckets_of(either_bundle).run(model_inputs, OUTPUTS)
    assert_same_answers(found, plain_of(either_bundle).run(model_inputs, OUTPUTS))
    assert len(found["experts"]) == num_rows


def test_a_bucket_answers_each_batch_by_its_own_rows(either_bundle):
    buckets, plain = buckets_of(either_bundle), plain_of(either_bundle)
    answers = []
    for seed, num_rows in enumerate([5, 8, 6, 7, 5]):
        model_inputs = random_inputs(either_bundle, num_rows, seed)
        answers.append((buckets.run(model_inputs, OUTPUTS), plain.run(model_inputs, OUTPUTS)))
    for found, wanted in answers:  # after all of them ran: no answer is a view of what the next run writes
        assert_same_answers(found, wanted)


def test_rows_of_an_earlier_batch_do_not_reach_the_padding_of_the_next(either_bundle):
    buckets = buckets_of(either_bundle, 8)
    spoilt = random_inputs(either_bundle, 8)
    spoilt["positions"] = np.full_like(spoilt["positions"], np.nan)
    with pytest.raises(EngineError, match="not finite"):
        buckets.run(spoilt, OUTPUTS)
    model_inputs = random_inputs(either_bundle, 5)
    found = buckets.run(model_inputs, OUTPUTS)
    assert_same_answers(found, plain_of(either_bundle).run(model_inputs, OUTPUTS))


def test_a_row_longer_than_any_known_one_runs_uncaptured(sparse_bundle, recorded):
    buckets = buckets_of(sparse_bundle, 4)
    known = len(recorded.graph_ids)
    model_inputs = row_of_every_word(sparse_bundle)
    found = buckets.run(model_inputs, OUTPUTS)
    assert_same_answers(found, plain_of(sparse_bundle).run(model_inputs, OUTPUTS))
    assert recorded.graph_ids[known:] == [NO_CAPTURE]


def test_before_they_are_prepared_batches_run_uncaptured(either_bundle, recorded):
    graph = either_bundle.manifest.graphs["cuda"]
    runner = BucketRunner(session_of(either_bundle), either_bundle.manifest, graph)
    model_inputs = random_inputs(either_bundle, 5)
    assert_same_answers(runner.run(model_inputs, OUTPUTS), plain_of(either_bundle).run(model_inputs, OUTPUTS))
    assert recorded.graph_ids == [NO_CAPTURE]


def test_no_graph_id_is_used_twice(bundle, recorded):
    runner = buckets_of(bundle, 8)
    runner.prepare(8)
    assert len(recorded.graph_ids) == 2 * 4
    assert sorted(set(recorded.graph_ids)) == sorted(recorded.graph_ids)
    assert NO_CAPTURE not in recorded.graph_ids


def test_all_buckets_of_all_models_run_on_one_thread_whoever_asks(bundle, sparse_bundle, recorded):
    models = [(each, buckets_of(each, 8), plain_of(each)) for each in (bundle, sparse_bundle)]

    def ask(seed):
        model, buckets, plain = models[seed % 2]
        model_inputs = random_inputs(model, 1 + seed % 20, seed)
        assert_same_answers(buckets.run(model_inputs, OUTPUTS), plain.run(model_inputs, OUTPUTS))

    with ThreadPoolExecutor(8) as callers:
        assert len(list(callers.map(ask, range(40)))) == 40
    assert len(recorded.threads) == 1


def test_a_batch_of_long_rows_runs_in_parts_within_the_bound(sparse_bundle, monkeypatch):
    model_inputs = model_inputs_of(sparse_bundle, [1, *range(9)])
    wanted = plain_of(sparse_bundle).run(model_inputs, OUTPUTS)
    monkeypatch.setattr(shapes, "MAX_FLOATS", 2 * 8 * 40 * 3)  # three rows of 40 words
    session = CountingSession(session_of(sparse_bundle))
    assert_same_answers(
        Runner(session, sparse_bundle.manifest, sparse_bundle.manifest.graphs["cuda"]).run(
            model_inputs, OUTPUTS
        ),
        wanted,
    )
    assert [shape.num_rows for shape in session.shapes] == [3, 3, 3, 1]
    assert_same_answers(buckets_of(sparse_bundle).run(model_inputs, OUTPUTS), wanted)


def test_a_part_is_as_wide_as_its_own_longest_row(sparse_bundle, monkeypatch):
    everything = row_of_every_word(sparse_bundle)
    short = model_inputs_of(sparse_bundle, [2, 3, 4, 5])
    model_inputs = stack([everything, short], padding(sparse_bundle.manifest.features))
    wanted = plain_of(sparse_bundle).run(model_inputs, OUTPUTS)
    monkeypatch.setattr(shapes, "MAX_FLOATS", 2 * 8 * 200 * 2)  # two rows of 200 words
    session = CountingSession(session_of(sparse_bundle))
    assert_same_answers(
        Runner(session, sparse_bundle.manifest, sparse_bundle.manifest.graphs["cuda"]).run(
            model_inputs, OUTPUTS
        ),
        wanted,
    )
    assert [shape.num_rows for shape in session.shapes] == [2, 2, 1]
    assert [shape.num_nonzeros == 200 for shape in session.shapes] == [True, False, False]
    assert_same_answers(buckets_of(sparse_bundle).run(model_inputs, OUTPUTS), wanted)


def test_a_failing_run_reaches_the_caller(bundle):
    model_inputs = random_inputs(bundle, 2)
    model_inputs["features"] = model_inputs["features"][:, :5]
    with pytest.raises(ValueError, match="broadcast"):
        buckets_of(bundle).run(model_inputs, OUTPUTS)
