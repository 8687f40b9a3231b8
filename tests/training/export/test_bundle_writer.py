from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from rbm_bundle.bundle import read_bundle
from rbm_bundle.errors import BundleError
from rbm_bundle.features import CsrFeatures
from rbm_bundle.golden import check_parity, measure_parity
from rbm_bundle.manifest_parts import Metrics, Provenance
from rbm_training.export import ExportRequest, build_node_table, export_bundle
from rbm_training.export.bundle_writer import describe_architecture
from rbm_training.export.graphs import build_graph
from rbm_training.export.node_map import build_node_map
from rbm_training.export.parity import ROUTING_MARGIN, open_session, run_session
from tests.training.export.students import F, N, P, graph_of, random_weights

METRICS = Metrics(
    val_accuracy=0.9,
    test_accuracy=0.8,
    test_accuracy_std=0.01,
    teacher_test_accuracy=0.85,
    unseen_accuracy=0.8,
    teacher_unseen_accuracy=0.85,
    calibration_error=0.02,
    num_runs=3,
)
PROVENANCE = Provenance(
    git_commit="abc",
    dataset="toy",
    dataset_sha256="1" * 64,
    setting="inductive",
    seed=0,
    config={},
    versions={},
)


@pytest.fixture
def request_to_export():
    generator = np.random.default_rng(1)
    positions = generator.standard_normal((N, P)).astype(np.float32)
    graph = graph_of(generator.permutation(N) + 7)
    return ExportRequest(
        name="toy",
        student=random_weights(),
        nodes=build_node_table(graph, positions, cache_features=True),
        features=graph.dense_features(),
        positions=positions,
        labels=graph.class_names,
        metrics=METRICS,
        provenance=PROVENANCE,
    )


def test_an_exported_bundle_proves_itself_with_both_graphs(request_to_export, tmp_path):
    export_bundle(tmp_path / "bundle", request_to_export)
    bundle = read_bundle(tmp_path / "bundle")
    golden = bundle.golden()
    assert not golden.inputs["features"][-1].any()
    for provider in ("cpu", "cuda"):
        path = bundle.graph_path(provider)
        outputs = run_session(open_session(path.read_bytes()), golden)
        check_parity(measure_parity(golden, outputs, 1e-5), bundle.manifest.golden, path)


def test_a_map_makes_a_bundle_of_format_2(request_to_export, tmp_path):
    plain = export_bundle(tmp_path / "plain", request_to_export)
    assert (plain.manifest.format_version, plain.node_map) == (1, None)
    nodes = graph_of(np.arange(N))
    node_map = build_node_map(request_to_export.student, nodes, request_to_export.positions)
    mapped = export_bundle(tmp_path / "mapped", replace(request_to_export, node_map=node_map))
    assert mapped.manifest.format_version == 2
    assert mapped.node_map.to_bytes() == node_map.to_bytes()


def test_the_card_says_what_the_manifest_says(request_to_export, tmp_path):
    bundle = export_bundle(tmp_path / "bundle", request_to_export)
    card = (bundle.path / "MODEL_CARD.md").read_text()
    for words in ("# toy", "| test accuracy | 0.8000 |", "3 run(s)", "10 → 8 → 3", "a, b, c", "`abc`"):
        assert words in card
    assert bundle.manifest.metrics == METRICS


def test_the_card_says_how_nodes_without_a_known_neighbour_fare(request_to_export, tmp_path):
    alone = {"test_accuracy_without_neighbors": 0.571, "baseline_test_accuracy_without_neighbors": 0.589}
    measured = replace(request_to_export, metrics=METRICS.model_copy(update=alone))
    told = "A new node of which no neighbour is known: 57.1 % (logistic regression 58.9 %)."
    for name, request, is_told in (("yes", measured, True), ("no", request_to_export, False)):
        card = (export_bundle(tmp_path / name, request).path / "MODEL_CARD.md").read_text()
        assert (told in card) == is_told


def test_names_of_features_are_in_the_manifest_and_the_first_on_the_card(request_to_export, tmp_path):
    names = ("age", "height", "a", "b", "c", "d")
    bundle = export_bundle(tmp_path / "named", replace(request_to_export, feature_names=names))
    assert (bundle.manifest.features.names, bundle.manifest.format_version) == (names, 2)
    card = (bundle.path / "MODEL_CARD.md").read_text()
    assert "Features, in the order of a row: age, height, a, b, c, and 1 more." in card
    nameless = export_bundle(tmp_path / "nameless", request_to_export)
    assert (nameless.manifest.features.names, nameless.manifest.format_version) == (None, 1)
    assert "in the order of a row" not in (nameless.path / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize(
    ("shape", "words", "numbers"),
    [
        (
            {"num_experts": (1, 4)},
            "routed by memory (`rbm-head`)",
            "experts a layer 1, 4, at most 2 of them a row",
        ),
        ({}, "routed by memory (`rbm`)", "experts a layer 4, 4, 2 of them a row;"),
        ({"shared_routing": True}, "(`rbm`)", "a layer 4, 2 of them a row, chosen once for all layers;"),
        ({"kind": "moe"}, "with a learnt router (`moe`)", "experts a layer 4, 4, 2 of them a row"),
        ({"kind": "mlp"}, "an MLP (`mlp`)", "10 → 8 → 3; 115 parameters"),
        ({"kind": "mlp-ensemble"}, "the mean of 4 MLPs (`mlp-ensemble`)", "10 → 32 → 3; 451 parameters"),
    ],
)
def test_the_card_fits_the_kind_of_student(request_to_export, tmp_path, shape, words, numbers):
    provenance = PROVENANCE.model_copy(update={"config": {"student": {"num_members": 4}}})
    request = replace(request_to_export, student=random_weights(**shape), provenance=provenance)
    card = (export_bundle(tmp_path / "bundle", request).path / "MODEL_CARD.md").read_text()
    assert words in card
    assert numbers in card


@pytest.mark.parametrize(
    ("shape", "num_experts", "top_k", "router_width"),
    [
        ({"num_experts": (1, 4, 3), "top_k": 4}, (1, 4, 3), 4, None),
        ({"shared_routing": True, "num_experts": 5}, (5,), 2, None),
        ({"kind": "moe", "router_top_k": "k_plus_1", "hidden": 7}, (4, 4, 4), 3, 7),
        ({"kind": "mlp-ensemble"}, (1, 1, 1), 1, None),
    ],
)
def test_the_manifest_tells_what_kind_of_student_it_is(shape, num_experts, top_k, router_width):
    kind = shape.get("kind", "rbm")
    found = describe_architecture(random_weights((8, 5, 3), **shape))
    assert (found.student, found.num_experts) == (kind, num_experts)
    assert (found.experts_per_row, found.router_width) == (top_k, router_width)


def test_a_student_that_a_graph_does_not_reproduce_is_not_exported(request_to_export, tmp_path, monkeypatch):
    other = random_weights(seed=5)
    monkeypatch.setattr(
        "rbm_training.export.bundle_writer.build_graph", lambda _, *forms: build_graph(other, *forms)
    )
    with pytest.raises(BundleError, match=r"student\.grouped\.onnx at 1 rows"):
        export_bundle(tmp_path / "bundle", request_to_export)
    assert not list(tmp_path.iterdir())


def test_silenced_and_all_zero_rows_can_be_exported(request_to_export, tmp_path):
    request = request_to_export
    request.student.expert_layers()[0].bias.data.fill_(-1e3)  # every hidden row is zero after ReLU
    features = request.features.copy()
    features[::3] = 0
    bundle = export_bundle(tmp_path / "bundle", replace(request, features=features))
    assert np.isinf(bundle.golden().routing_gap).any()


def test_a_tiny_graph_gets_golden_rows_that_prove_its_bundle(request_to_export, tmp_path):
    request = replace(
        request_to_export,
        features=request_to_export.features[:3],
        positions=request_to_export.positions[:3],
    )
    golden = export_bundle(tmp_path / "bundle", request).golden()
    assert len(golden) == 4
    assert (golden.routing_gap >= ROUTING_MARGIN).all()


def test_sparse_features_make_a_sparse_bundle(request_to_export, tmp_path):
    dense = request_to_export.features.copy()
    dense[np.random.default_rng(0).random(dense.shape) < 0.7] = 0
    graph = graph_of(np.arange(N), sp.csr_array(dense))
    request = replace(
        request_to_export,
        nodes=build_node_table(graph, request_to_export.positions, cache_features=True),
        features=graph.features,
    )
    bundle = export_bundle(tmp_path / "bundle", request)
    longest = int((dense != 0).sum(axis=1).max())
    assert bundle.manifest.features.model_dump() == {
        "num_features": F,
        "form": "sparse",
        "scaling": "l2",
        "cached": "csr",
        "max_nonzeros": longest,
    }
    golden = bundle.golden()
    assert sorted(golden.inputs) == ["feature_ids", "feature_values", "positions"]
    assert (golden.inputs["feature_ids"][-1] == F).all()
    for provider in ("cpu", "cuda"):
        outputs = run_session(open_session(bundle.graph_path(provider).read_bytes()), golden)
        check_parity(measure_parity(golden, outputs, 1e-5), bundle.manifest.golden, provider)


def test_experts_that_nothing_tells_apart_are_not_exported(request_to_export, tmp_path):
    for layer in request_to_export.student.memory_layers():
        layer.memory.copy_(layer.memory[:1].expand_as(layer.memory))
    with pytest.raises(BundleError, match="every row at a routing tie"):
        export_bundle(tmp_path / "bundle", request_to_export)


def test_rows_go_in_by_sorted_id():
    ids = np.array([30, 10, 20, *range(100, 100 + N - 3)])
    positions = np.arange(N * P, dtype=np.float32).reshape(N, P)
    graph = graph_of(ids)
    table = build_node_table(graph, positions, cache_features=True)
    rows = table.rows_of([10, 20, 30, 100])
    np.testing.assert_array_equal(table.positions_of(rows), positions[[1, 2, 0, 3]])
    np.testing.assert_array_equal(table.features_of(rows), graph.dense_features()[[1, 2, 0, 3]])


def test_string_ids_go_in_as_utf8():
    ids = np.array([f"node é{index:02}" for index in reversed(range(N))])
    positions = np.arange(N * P, dtype=np.float32).reshape(N, P)
    table = build_node_table(graph_of(ids), positions, cache_features=False)
    assert (table.id_kind, table.cached_features) == ("string", None)
    assert (table.rows_of(list(ids)) == np.arange(N)[::-1]).all()


def test_ids_that_count_up_need_no_file():
    table = build_node_table(graph_of(np.arange(N)), np.zeros((N, P), np.float32), cache_features=False)
    assert table.id_kind == "range"


@pytest.mark.parametrize(("density", "kind"), [(0.05, "csr"), (0.5, "dense")])
def test_sparse_features_are_cached_sparse(density, kind):
    generator = np.random.default_rng(0)
    features = sp.random_array((N, 40), density=density, rng=generator, dtype=np.float32, format="csr")
    graph = graph_of(generator.permutation(N), sp.csr_array(features)).in_best_form()
    table = build_node_table(graph, np.zeros((N, P), np.float32), cache_features=True)
    assert table.cached_features == kind
    rows = table.rows_of(graph.node_ids.tolist())
    cached = table.features_of(rows)
    assert (kind == "csr") == isinstance(cached, CsrFeatures)
    found = cached.to_dense() if isinstance(cached, CsrFeatures) else cached
    np.testing.assert_array_equal(found, graph.dense_features())


def test_an_existing_folder_is_left_alone(request_to_export, tmp_path):
    (tmp_path / "bundle").mkdir()
    with pytest.raises(BundleError, match="never overwritten"):
        export_bundle(tmp_path / "bundle", replace(request_to_export, name="other"))
