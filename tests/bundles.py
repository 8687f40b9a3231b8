"""Variants of the tiny bundle, each a real bundle on disk."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from rbm_bundle import Bundle, BundleDraft, GoldenRows, ModelRepository, NodeTable, write_bundle
from rbm_bundle.bundle import MODEL_CARD_FILE, read_manifest
from rbm_bundle.features import csr_from_dense
from rbm_bundle.manifest_parts import FeatureForm, FeatureSpec, GraphEntry, MapSpec, TensorSpec
from rbm_bundle.node_map import NodeMap
from rbm_service.inference.features import graph_inputs

TINY = Path(__file__).parent / "data" / "tiny_bundle"
SPARSE = TINY.with_name("sparse_bundle")
RECORDS = TINY.with_name("records_bundle")
KNOWN_IDS = list(range(100, 200, 5))
STRING_IDS = [f"node-{node_id}" for node_id in KNOWN_IDS]  # sorts as the numbers do


def repository_of(root: Path, folder: Path = TINY) -> ModelRepository:
    """A repository in which one bundle is published and promoted."""
    repository = ModelRepository(root)
    name = read_manifest(folder).name
    repository.promote(name, repository.publish(folder))
    return repository


def draft_of(bundle: Bundle) -> BundleDraft:
    """What the bundle was written from."""
    names = {entry.file for entry in bundle.manifest.graphs.values()}
    if bundle.manifest.records is not None:
        names.add(bundle.manifest.records.file)
    return BundleDraft(
        manifest=bundle.manifest,
        graphs={name: (bundle.path / name).read_bytes() for name in names},
        golden_records=bundle.golden_records(),
        node_map=bundle.node_map,
        nodes=bundle.nodes,
        golden=bundle.golden(),
        model_card=(bundle.path / MODEL_CARD_FILE).read_text(),
    )


def with_string_ids(bundle: Bundle, folder: Path) -> Bundle:
    nodes = bundle.manifest.nodes.model_copy(update={"id_kind": "string"})
    table = NodeTable(np.array(STRING_IDS, "S"), bundle.nodes.positions, bundle.nodes.features)
    draft = draft_of(bundle)
    manifest = draft.manifest.model_copy(update={"nodes": nodes})
    return write_bundle(folder, replace(draft, manifest=manifest, nodes=table))


def without_cached_features(bundle: Bundle, folder: Path) -> Bundle:
    features = bundle.manifest.features.model_copy(update={"cached": None})
    draft = draft_of(bundle)
    manifest = draft.manifest.model_copy(update={"features": features})
    return write_bundle(folder, replace(draft, manifest=manifest, nodes=replace(bundle.nodes, features=None)))


def with_golden(bundle: Bundle, folder: Path, golden: GoldenRows) -> Bundle:
    return write_bundle(folder, replace(draft_of(bundle), golden=golden))


def with_cpu_graph(bundle: Bundle, folder: Path, content: bytes) -> Bundle:
    draft = draft_of(bundle)
    name = bundle.manifest.graphs["cpu"].file
    return write_bundle(folder, replace(draft, graphs={**draft.graphs, name: content}))


def with_map(bundle: Bundle, folder: Path) -> Bundle:
    """Two nodes on a map of the second layer."""
    layer = 1
    E = bundle.manifest.architecture.num_experts[layer]
    rows, classes, experts = (np.array(pair, np.int32) for pair in ([0, 3], [1, 0], [1, 0]))
    points, memory = (np.arange(2 * size, dtype=np.float32).reshape(size, 2) / 2 for size in (2, E))
    update = {
        "map": MapSpec(file="map.npz", num_nodes=2, layer=layer, has_experts=True),
        "format_version": 2,
    }
    draft = draft_of(bundle)
    manifest = draft.manifest.model_copy(update=update)
    node_map = NodeMap(rows, points, classes, experts, memory)
    return write_bundle(folder, replace(draft, manifest=manifest, node_map=node_map))


def with_other_answers(bundle: Bundle, folder: Path, seed: int) -> Bundle:
    """The same ids with the features and positions of other nodes, behind graphs with other class biases."""
    draft = draft_of(bundle)
    shift = np.random.default_rng(seed).standard_normal(len(bundle.manifest.labels)).astype(np.float32)
    graphs = {name: _with_shifted_logits(graph, shift) for name, graph in draft.graphs.items()}
    golden = bundle.golden()
    session = onnxruntime.InferenceSession(
        graphs[bundle.manifest.graphs["cpu"].file], providers=["CPUExecutionProvider"]
    )
    logits, probabilities = session.run(["logits", "probabilities"], golden.inputs)
    table = NodeTable(
        bundle.nodes.ids,
        np.roll(bundle.nodes.positions, seed, axis=0),
        np.roll(bundle.nodes.features, seed, axis=0),
    )
    rows = replace(golden, logits=logits, probabilities=probabilities)
    return write_bundle(folder, replace(draft, graphs=graphs, nodes=table, golden=rows))


def _with_shifted_logits(graph: bytes, shift: npt.NDArray[np.float32]) -> bytes:
    """Whatever the form of the graph; what is routed where stays the same."""
    model = onnx.load_model_from_string(graph)
    model.graph.initializer.append(numpy_helper.from_array(shift, "shift"))
    nodes = list(model.graph.node)
    [last] = [index for index, node in enumerate(nodes) if "logits" in node.output]
    assert list(nodes[last].output) == ["logits"]
    nodes[last].output[0] = "unshifted"
    nodes.insert(last + 1, helper.make_node("Add", ["unshifted", "shift"], ["logits"]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()


def without_positions(bundle: Bundle, folder: Path) -> Bundle:
    """A linear model of the features alone; its two "experts" are the two most probable classes."""
    return _write_linear(bundle, folder, bundle.manifest.features)


def with_sparse_features(bundle: Bundle, folder: Path) -> Bundle:
    """The same linear model over sparse features, cached in compressed rows."""
    cached = csr_from_dense(sparsified(bundle.nodes.features))
    update = {"form": "sparse", "cached": "csr", "max_nonzeros": cached.max_nonzeros}
    spec = bundle.manifest.features.model_copy(update=update)
    return _write_linear(replace(bundle, nodes=replace(bundle.nodes, features=cached)), folder, spec)


def sparsified(features: np.ndarray) -> np.ndarray:
    """Features of the tiny bundle's nodes with most of them zero, those of its first node all of them."""
    kept = features > 0.7
    kept[0] = False
    return features * kept


def _write_linear(bundle: Bundle, folder: Path, features: FeatureSpec) -> Bundle:
    manifest, golden = bundle.manifest, bundle.golden()
    F, C = features.num_features, len(manifest.labels)
    weight = np.random.default_rng(0).standard_normal((F, C)).astype(np.float32)
    dense = golden.inputs["features"]
    logits = dense @ weight
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    experts = np.argsort(-probabilities, axis=1)[:, None, :2]
    weights = np.take_along_axis(probabilities, experts[:, 0], axis=1)[:, None]
    rows = replace(
        golden,
        inputs=graph_inputs(dense, features.form),
        logits=logits,
        probabilities=probabilities,
        experts=experts.astype(np.int64),
        weights=weights,
        similarity=weights,
        routing_gap=np.ones(len(golden), np.float32),
    )
    entry = _linear_entry(features, C)
    update = {
        "graphs": {"cpu": entry},
        "features": features,
        "nodes": manifest.nodes.model_copy(update={"position_width": 0}),
        "architecture": manifest.architecture.model_copy(update={"num_experts": (C,)}),
    }
    nodes = replace(bundle.nodes, positions=np.zeros((bundle.nodes.num_nodes, 0), np.float32))
    graphs = {entry.file: _linear_graph(weight, entry, features.form)}
    return write_bundle(
        folder, BundleDraft(manifest.model_copy(update=update), graphs, nodes, rows, "A linear model.")
    )


def _linear_entry(features: FeatureSpec, C: int) -> GraphEntry:
    shapes = {
        "logits": (C,),
        "probabilities": (C,),
        "experts": (1, 2),
        "weights": (1, 2),
        "similarity": (1, 2),
    }
    return GraphEntry(
        file="linear.onnx",
        inputs=tuple(
            TensorSpec(name=name, dtype="int64" if name == "feature_ids" else "float32", shape=shape)
            for name, shape in features.inputs().items()
        ),
        outputs=tuple(
            TensorSpec(name=name, dtype="int64" if name == "experts" else "float32", shape=(None, *shape))
            for name, shape in shapes.items()
        ),
    )


DENSE_LOGITS = [helper.make_node("MatMul", ["features", "weight"], ["logits"])]
SPARSE_LOGITS = [
    helper.make_node("Gather", ["weight", "feature_ids"], ["rows"]),  # (B, S, C), zeros for padding
    helper.make_node("Unsqueeze", ["feature_values", "axis"], ["row_values"]),  # (B, 1, S)
    helper.make_node("MatMul", ["row_values", "rows"], ["row_logits"]),  # (B, 1, C)
    helper.make_node("Squeeze", ["row_logits", "axis"], ["logits"]),
]


def _linear_graph(weight: np.ndarray, entry: GraphEntry, form: FeatureForm) -> bytes:
    nodes = [
        *(DENSE_LOGITS if form == "dense" else SPARSE_LOGITS),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
        helper.make_node("TopK", ["probabilities", "two"], ["values", "indices"]),
        helper.make_node("Unsqueeze", ["values", "axis"], ["weights"]),
        helper.make_node("Identity", ["weights"], ["similarity"]),
        helper.make_node("Unsqueeze", ["indices", "axis"], ["experts"]),
    ]
    padded = weight if form == "dense" else np.vstack([weight, np.zeros_like(weight[:1])])
    constants = [
        numpy_helper.from_array(padded, "weight"),
        numpy_helper.from_array(np.array([2]), "two"),
        numpy_helper.from_array(np.array([1]), "axis"),
    ]
    graph = helper.make_graph(nodes, "linear", _infos(entry.inputs), _infos(entry.outputs), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _infos(specs: Sequence[TensorSpec]) -> list[onnx.ValueInfoProto]:
    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    return [
        helper.make_tensor_value_info(
            spec.name, kinds[spec.dtype], ["B", *("S" if size is None else size for size in spec.shape[1:])]
        )
        for spec in specs
    ]
