"""On a GPU: `make test-gpu`. Elsewhere these are skipped, and say so."""

import subprocess
import sys
import threading

import numpy as np
import onnxruntime
import pytest

from rbm_service.runtime.engine import TARGETS, Engine, EngineError
from rbm_service.runtime.runners import Runner
from tests.bundles import TINY
from tests.model_inputs import assert_same_answers, random_inputs, row_of_every_word

pytestmark = pytest.mark.usefixtures("cuda_device")

OUTPUTS = ("probabilities", "experts", "weights", "similarity")
MOST_ROWS = 128


@pytest.fixture(scope="module")
def cuda_engine(any_bundle):
    engine = Engine(any_bundle, "cuda", 1)
    engine.warm_up(MOST_ROWS)
    return engine


@pytest.fixture(scope="module")
def plain_cuda(any_bundle):
    """The same graph on the same provider, without buckets and without captured graphs."""
    onnxruntime.preload_dlls()
    session = onnxruntime.InferenceSession(
        any_bundle.graph_path("cuda"),
        providers=[("CUDAExecutionProvider", {"use_tf32": "0"})],
        enable_fallback=0,
    )
    assert session.get_providers()[0] == "CUDAExecutionProvider"
    return Runner(session, any_bundle.manifest, any_bundle.manifest.graphs["cuda"])


def test_the_session_runs_on_cuda_with_the_options_that_were_asked_for(cuda_engine):
    assert cuda_engine.provider == "CUDAExecutionProvider"
    options = cuda_engine.runner._session.get_provider_options()["CUDAExecutionProvider"]
    wanted = TARGETS["cuda"].options
    assert {name: options[name] for name in wanted} == wanted


def test_golden_rows_reproduce_before_and_after_capture(any_bundle):
    engine = Engine(any_bundle, "cuda", 1)
    engine.self_test(any_bundle)
    engine.warm_up(MOST_ROWS)
    engine.self_test(any_bundle)


@pytest.mark.parametrize("num_rows", [1, 2, 3, 7, 64, 100, MOST_ROWS, 300])
def test_every_number_of_rows_gives_what_plain_runs_give(cuda_engine, plain_cuda, any_bundle, num_rows):
    model_inputs = random_inputs(any_bundle, num_rows)
    found = cuda_engine.run(model_inputs, OUTPUTS)
    assert_same_answers(found, plain_cuda.run(model_inputs, OUTPUTS))
    assert_same_answers(found, Engine(any_bundle, "cpu", 1).run(model_inputs, OUTPUTS))


def test_a_captured_graph_answers_each_batch_by_its_own_rows(cuda_engine, plain_cuda, any_bundle):
    sizes = [7, 8, 100, 5, 1, 6, 64, 7]  # half of them in one bucket, others in between
    batches = [random_inputs(any_bundle, num_rows, seed) for seed, num_rows in enumerate(sizes)]
    answers = [cuda_engine.run(model_inputs, OUTPUTS) for model_inputs in batches]
    for model_inputs, found in zip(batches, answers, strict=True):
        assert_same_answers(found, plain_cuda.run(model_inputs, OUTPUTS))
    assert not np.array_equal(answers[0]["probabilities"], answers[-1]["probabilities"])


def test_captured_graphs_answer_as_before_after_a_row_that_none_fits(sparse_bundle):
    engine = Engine(sparse_bundle, "cuda", 1)
    engine.warm_up(MOST_ROWS)
    model_inputs = random_inputs(sparse_bundle, 9)
    before = engine.run(model_inputs, OUTPUTS)
    long = row_of_every_word(sparse_bundle)
    assert_same_answers(engine.run(long, OUTPUTS), Engine(sparse_bundle, "cpu", 1).run(long, OUTPUTS))
    assert_same_answers(engine.run(model_inputs, OUTPUTS), before)


def test_a_model_answers_while_another_one_captures(cuda_engine, plain_cuda, any_bundle):
    model_inputs = random_inputs(any_bundle, 9)
    wanted = plain_cuda.run(model_inputs, OUTPUTS)
    loading = threading.Thread(target=lambda: Engine(any_bundle, "cuda", 1).warm_up(MOST_ROWS))
    loading.start()
    while loading.is_alive():
        assert_same_answers(cuda_engine.run(model_inputs, OUTPUTS), wanted)
    loading.join()


def test_models_go_while_another_one_captures(any_bundle):
    for _ in range(5):
        gone = [Engine(any_bundle, "cuda", 1) for _ in range(3)]
        for engine in gone:
            engine.warm_up(8)
        del engine
        leaving = threading.Thread(target=gone.clear)
        loaded = Engine(any_bundle, "cuda", 1)
        leaving.start()
        loaded.warm_up(MOST_ROWS)
        leaving.join()
        loaded.self_test(any_bundle)


def test_too_little_memory_is_refused(any_bundle):
    with pytest.raises(EngineError):
        Engine(any_bundle, "cuda", 1, gpu_memory_limit_bytes=1024).warm_up(MOST_ROWS)


def test_a_graph_that_cannot_be_captured_is_refused():
    """In a process of its own: what a broken capture leaves behind may not survive its session."""
    program = f"""
import os
from dataclasses import replace
from pathlib import Path
from rbm_bundle import read_bundle
from rbm_service.runtime.engine import Engine, EngineError

bundle = read_bundle(Path({str(TINY)!r}))
graphs = {{"cuda": bundle.manifest.graphs["cpu"]}}
grouped = replace(bundle, manifest=bundle.manifest.model_copy(update={{"graphs": graphs}}))
try:
    Engine(grouped, "cuda", 1).warm_up(8)
except EngineError as error:
    print("refused:", error, flush=True)
    os._exit(3)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stdout.startswith("refused:")) == (3, True), result.stderr
