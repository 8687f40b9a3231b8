from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from rbm_bundle import Bundle, BundleError
from rbm_service.engine import Engine, EngineError
from tests.bundles import with_cpu_graph, with_golden, without_positions


def feeds_of(bundle: Bundle, num_rows: int) -> dict[str, np.ndarray]:
    rows = np.arange(num_rows)
    return {"features": bundle.nodes.features_of(rows), "positions": bundle.nodes.positions_of(rows)}


def test_it_gives_the_outputs_that_are_asked_for_and_no_others(engine, bundle):
    outputs = engine.run(feeds_of(bundle, 3), ("probabilities", "experts"))
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
def test_the_warm_up_runs_every_power_of_two_that_fits(engine, monkeypatch, max_rows):
    sizes = []
    run = engine.run
    monkeypatch.setattr(
        engine, "run", lambda feeds, names: sizes.append(len(feeds["features"])) or run(feeds, names)
    )
    engine.warm_up(max_rows)
    assert sizes == [size for size in (8, 4, 2, 1) if size <= max_rows]


def test_a_graph_without_positions_is_fed_only_what_it_takes(bundle, tmp_path):
    linear = without_positions(bundle, tmp_path / "linear")
    engine = Engine(linear, "cpu", 1)
    engine.self_test(linear)
    outputs = engine.run(feeds_of(linear, 2), ("probabilities",))
    assert outputs["probabilities"].sum(axis=1) == pytest.approx([1, 1])


def test_probabilities_that_are_not_finite_are_a_failure(engine, bundle):
    feeds = feeds_of(bundle, 2)
    feeds["positions"] = np.full_like(feeds["positions"], np.nan)
    with pytest.raises(EngineError, match="not finite"):
        engine.run(feeds, ("probabilities", "experts"))


def test_it_says_on_what_it_runs(engine):
    assert engine.provider == "CPUExecutionProvider"
    assert engine.runtime_version == onnxruntime.__version__


def test_it_accepts_several_threads(bundle):
    Engine(bundle, "cpu", intra_op_threads=2).self_test(bundle)


def test_a_graph_that_is_no_graph_is_refused(bundle, tmp_path):
    broken = with_cpu_graph(bundle, tmp_path / "broken", b"no graph")
    with pytest.raises(BundleError, match="a graph that ONNX Runtime refuses"):
        Engine(broken, "cpu", 1)


def test_a_graph_with_other_outputs_than_the_manifest_promises_is_refused(bundle, tmp_path):
    model = onnx.load(bundle.graph_path("cpu"))
    model.graph.output.pop()
    other = with_cpu_graph(bundle, tmp_path / "other", model.SerializeToString())
    with pytest.raises(BundleError, match=r"outputs logits .*; wanted logits .*similarity"):
        Engine(other, "cpu", 1)


def test_a_graph_of_another_width_than_the_manifest_promises_is_refused(bundle, tmp_path):
    features = bundle.manifest.features.model_copy(update={"num_features": 11})
    entry = bundle.manifest.graphs["cpu"]
    narrow = entry.inputs[0].model_copy(update={"shape": (None, 11)})
    graphs = {"cpu": entry.model_copy(update={"inputs": (narrow, *entry.inputs[1:])})}
    manifest = bundle.manifest.model_copy(update={"graphs": graphs, "features": features})
    with pytest.raises(BundleError, match=r"features tensor\(float\) \[\*, 12\].*wanted .*\[\*, 11\]"):
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
