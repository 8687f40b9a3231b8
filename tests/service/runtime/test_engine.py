import threading
import weakref
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from rbm_bundle import BundleError
from rbm_service.runtime import engine as engine_module
from rbm_service.runtime.engine import Engine, EngineError, Target
from rbm_service.runtime.runners import BucketRunner
from tests.bundles import with_cpu_graph, with_golden, without_positions
from tests.faults import DAMAGES, Fault, faulty
from tests.model_inputs import assert_same_answers, model_inputs_of, random_inputs
from tests.servers import wait_until

OUTPUTS = ("probabilities", "experts")


@pytest.fixture
def cuda_on_the_cpu(monkeypatch):
    """Everything that serves CUDA, with the CPU provider in its place."""
    target = Target("CPUExecutionProvider", {}, BucketRunner)
    monkeypatch.setitem(engine_module.TARGETS, "cuda", target)


def recorded_runs(engine, monkeypatch):
    """The inputs of every run from now on."""
    runs = []
    run = engine.run
    monkeypatch.setattr(
        engine, "run", lambda model_inputs, names: runs.append(model_inputs) or run(model_inputs, names)
    )
    return runs


def test_it_gives_the_outputs_that_are_asked_for_and_no_others(engine, bundle):
    outputs = engine.run(model_inputs_of(bundle, range(3)), ("probabilities", "experts"))
    assert list(outputs) == ["probabilities", "experts"]
    assert outputs["probabilities"].shape == (3, 3)
    assert outputs["experts"].shape == (3, 2, 2)


def test_it_reproduces_the_golden_rows(engine, bundle):
    engine.self_test(bundle)


def test_other_golden_rows_are_refused(bundle, tmp_path):
    golden = bundle.golden()
    altered = with_golden(bundle, tmp_path / "altered", replace(golden, logits=golden.logits + 1))
    with pytest.raises(BundleError, match="relative logits error"):
        Engine(altered, "cpu", 1).self_test(altered)


@pytest.mark.parametrize("max_rows", [1, 6, 8])
def test_the_warm_up_runs_every_power_of_two_that_fits(bundle, monkeypatch, max_rows):
    engine = Engine(bundle, "cpu", 1)  # of its own: this bounds the passes
    runs = recorded_runs(engine, monkeypatch)
    engine.warm_up(max_rows)
    sizes = [len(model_inputs["features"]) for model_inputs in runs]
    assert sizes == [size for size in (8, 4, 2, 1) if size <= max_rows]


def test_a_sparse_bundle_passes_its_self_test_and_runs(sparse_bundle):
    engine = Engine(sparse_bundle, "cpu", 1)
    engine.self_test(sparse_bundle)
    engine.warm_up(8)
    outputs = engine.run(random_inputs(sparse_bundle, 9), OUTPUTS)
    assert outputs["probabilities"].sum(axis=1) == pytest.approx(np.ones(9))


def test_the_warm_up_runs_long_sparse_rows_first(sparse_bundle, monkeypatch):
    engine = Engine(sparse_bundle, "cpu", 1)
    runs = recorded_runs(engine, monkeypatch)
    engine.warm_up(2)
    shapes = [model_inputs["feature_ids"].shape for model_inputs in runs]
    assert shapes == [(2, 40), (1, 40), (2, 1), (1, 1)]


@pytest.mark.parametrize("num_rows", [1, 5, 40])
def test_an_engine_on_cuda_passes_its_self_test_before_and_after_the_warm_up(
    any_bundle, cuda_on_the_cpu, num_rows
):
    engine = Engine(any_bundle, "cuda", 1)
    engine.self_test(any_bundle)
    engine.warm_up(32)
    engine.self_test(any_bundle)
    model_inputs = random_inputs(any_bundle, num_rows)
    assert_same_answers(
        engine.run(model_inputs, OUTPUTS), Engine(any_bundle, "cpu", 1).run(model_inputs, OUTPUTS)
    )


@pytest.mark.usefixtures("cuda_on_the_cpu")
def test_what_lies_on_the_device_is_freed_by_the_thread_that_works_there(bundle):
    engine, freed_by = Engine(bundle, "cuda", 1), []
    engine.warm_up(4)
    held = [engine.runner._session, *engine.runner._buckets.values()]
    gone = [weakref.finalize(each, lambda: freed_by.append(threading.current_thread().name)) for each in held]
    del engine, held
    wait_until(lambda: not any(each.alive for each in gone), "all of it is freed")
    assert set(freed_by) == {"rbm-device_0"}


def test_a_capture_that_fails_is_refused_with_its_reason(bundle, cuda_on_the_cpu, monkeypatch):
    def fail(*_args):
        raise RuntimeError(
            "cuda_call.cc:154 std::conditional_t<THRW, void, Status> CUDA failure 900: operation not "
            "permitted when stream is capturing ; GPU=0 ; hostname=here ; expr=cudaMalloc; "
        )

    monkeypatch.setattr(onnxruntime.InferenceSession, "run_with_iobinding", fail)
    refusal = r"the warm-up on CPUExecutionProvider failed: CUDA failure 900: .* stream is capturing$"
    with pytest.raises(EngineError, match=refusal):
        Engine(bundle, "cuda", 1).warm_up(4)


def test_a_graph_that_cuda_refuses_is_refused_with_the_reason(bundle, tmp_path, cuda_on_the_cpu):
    entry = bundle.manifest.graphs["cuda"].model_copy(update={"file": "golden.npz"})
    manifest = bundle.manifest.model_copy(update={"graphs": {"cuda": entry}})
    with pytest.raises(EngineError, match=r"RBM_DEVICE=cuda, but .*golden\.npz cannot run there: "):
        Engine(replace(bundle, manifest=manifest), "cuda", 1)


def test_a_graph_without_positions_is_fed_only_what_it_takes(bundle, tmp_path):
    linear = without_positions(bundle, tmp_path / "linear")
    engine = Engine(linear, "cpu", 1)
    engine.self_test(linear)
    outputs = engine.run(model_inputs_of(linear, range(2)), ("probabilities",))
    assert outputs["probabilities"].sum(axis=1) == pytest.approx([1, 1])


@pytest.mark.parametrize("num_rows", [1, 30])
def test_probabilities_that_are_not_finite_are_a_failure(engine, bundle, num_rows):
    model_inputs = model_inputs_of(bundle, [0] * num_rows)
    model_inputs["positions"][-1] = np.nan
    with pytest.raises(EngineError, match="not finite"):
        engine.run(model_inputs, ("probabilities", "experts"))


@pytest.mark.parametrize("name", DAMAGES)
def test_outputs_that_are_not_what_the_manifest_promises_are_a_failure(engine, bundle, monkeypatch, name):
    fault = Fault()
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", faulty(onnxruntime.InferenceSession.run, fault))
    fault.begin(DAMAGES[name])
    with pytest.raises((EngineError, RuntimeError), match=r"of shape|not finite|illegal memory access"):
        engine.run(model_inputs_of(bundle, range(3)), OUTPUTS)
    fault.end()
    assert engine.run(model_inputs_of(bundle, range(3)), OUTPUTS)["probabilities"].shape == (3, 3)


@pytest.mark.parametrize("name", ["experts", "weights"])
def test_every_output_that_is_asked_for_is_checked(engine, bundle, monkeypatch, name):
    run = onnxruntime.InferenceSession.run

    def narrow(session, names, model_inputs):
        computed = zip(names, run(session, names, model_inputs), strict=True)
        return [output[..., :1] if found == name else output for found, output in computed]

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", narrow)
    with pytest.raises(EngineError, match=rf"expected {name} of shape \(3, 2, 2\), got \(3, 2, 1\)"):
        engine.run(model_inputs_of(bundle, range(3)), (*OUTPUTS, "weights"))


def test_more_rows_than_a_pass_may_have_run_in_several_and_each_is_counted(any_bundle):
    engine = Engine(any_bundle, "cpu", 1)
    model_inputs = random_inputs(any_bundle, 20)
    at_once = engine.run(model_inputs, OUTPUTS)
    engine.warm_up(8)
    passes = []
    engine.runner.on_execution = passes.append
    assert_same_answers(engine.run(model_inputs, OUTPUTS), at_once)
    assert passes == [8, 8, 4]


def test_it_measures_every_power_of_two_that_fits(any_bundle):
    engine = Engine(any_bundle, "cpu", 1)
    engine.warm_up(12)
    table = engine.measure(12)
    assert sorted(table) == [1, 2, 4, 8]
    assert all(seconds > 0 for seconds in table.values())


def test_it_measures_rows_as_long_as_the_longest_known_one(sparse_bundle, monkeypatch):
    engine = Engine(sparse_bundle, "cpu", 1)
    runs = recorded_runs(engine, monkeypatch)
    engine.measure(4)
    assert {model_inputs["feature_ids"].shape[1] for model_inputs in runs} == {40}


def test_on_the_cpu_it_waits_for_no_device(engine):
    assert not engine.may_wait


def test_it_says_on_what_it_runs(engine):
    assert engine.provider == "CPUExecutionProvider"
    assert engine.runtime_version == onnxruntime.__version__


def test_it_accepts_several_threads(bundle):
    Engine(bundle, "cpu", intra_op_threads=2).self_test(bundle)


def test_a_graph_that_the_runtime_does_not_understand_is_refused(bundle, tmp_path):
    model = onnx.load(bundle.graph_path("cpu"))
    model.graph.node[0].op_type = "Unheard"
    broken = with_cpu_graph(bundle, tmp_path / "broken", model.SerializeToString())
    with pytest.raises(BundleError, match="a graph that ONNX Runtime refuses"):
        Engine(broken, "cpu", 1)


def test_a_graph_with_other_outputs_than_the_manifest_promises_is_refused(bundle, tmp_path):
    model = onnx.load(bundle.graph_path("cpu"))
    model.graph.output.pop()
    other = with_cpu_graph(bundle, tmp_path / "other", model.SerializeToString())
    with pytest.raises(BundleError, match=r"expected logits .*similarity.*, got outputs logits"):
        Engine(other, "cpu", 1)


def test_a_graph_of_another_width_than_the_manifest_promises_is_refused(bundle, tmp_path):
    features = bundle.manifest.features.model_copy(update={"num_features": 11})
    entry = bundle.manifest.graphs["cpu"]
    narrow = entry.inputs[0].model_copy(update={"shape": (None, 11)})
    graphs = {"cpu": entry.model_copy(update={"inputs": (narrow, *entry.inputs[1:])})}
    manifest = bundle.manifest.model_copy(update={"graphs": graphs, "features": features})
    with pytest.raises(BundleError, match=r"expected .*\[\*, 11\].*, got inputs .*\[\*, 12\]"):
        Engine(replace(bundle, manifest=manifest), "cpu", 1)


needs_cpu_package = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="onnxruntime is built with CUDA"
)


@needs_cpu_package
def test_cuda_on_a_cpu_installation_is_refused_and_the_extra_is_named(bundle):
    with pytest.raises(EngineError, match=r"built without CUDA: install the extra `gpu`.*RBM_DEVICE=cpu"):
        Engine(bundle, "cuda", 1)


@needs_cpu_package
def test_a_session_that_fell_back_to_the_cpu_is_refused_and_the_missing_library_is_named(bundle, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(EngineError, match=r"a library is missing \(.*libonnxruntime_providers_cuda\.so"),
    ):
        Engine(bundle, "cuda", 1)
