"""The last step of a run: graphs, parity, manifest, bundle."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rbm_bundle.bundle import GOLDEN_FILE, Bundle, BundleDraft, write_bundle
from rbm_bundle.golden import GoldenRows
from rbm_bundle.manifest import Manifest, format_of
from rbm_bundle.manifest_parts import (
    Architecture,
    FeatureForm,
    FeatureSpec,
    GraphEntry,
    Metrics,
    NodesSpec,
    Provenance,
)
from rbm_bundle.node_map import NodeMap
from rbm_bundle.nodes import NodeTable
from rbm_training.data.graph import Features, Floats
from rbm_training.evaluation.metrics import RareClass
from rbm_training.export.graphs import build_graph, tensor_specs
from rbm_training.export.model_card import render_model_card
from rbm_training.export.node_map import map_spec
from rbm_training.export.parity import check_graphs, draw_reference, golden_spec, record_golden
from rbm_training.export.records_graph import RecordsPart
from rbm_training.runtime.clock import time_of_making
from rbm_training.students.kind import student_kind
from rbm_training.students.student import Student

GROUPED_FILE = "student.grouped.onnx"
DENSE_FILE = "student.dense.onnx"


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """A trained student and all that its bundle says of it.

    Shapes: features (N, F) and positions (N, P) of observed nodes, for golden rows and parity; graphs take
    features in the form they have here, dense or sparse.
    """

    name: str
    student: Student
    nodes: NodeTable
    features: Features
    positions: Floats
    labels: tuple[str, ...]
    metrics: Metrics
    provenance: Provenance
    records: RecordsPart | None = None
    feature_names: tuple[str, ...] = ()
    node_map: NodeMap | None = None
    rare_classes: Sequence[RareClass] = ()


def export_bundle(folder: Path, request: ExportRequest) -> Bundle:
    """Write the bundle of a student, or nothing.

    Raises:
        BundleError: a graph does not reproduce the student, or `folder` exists.
    """
    student, seed = request.student, request.provenance.seed
    form = _form(request.features)
    graphs = {
        GROUPED_FILE: build_graph(student, "grouped", form),
        DENSE_FILE: build_graph(student, "dense", form),
    }
    reference = draw_reference(student, request.features, request.positions, seed)
    golden = record_golden(reference, request.features.shape[0])
    check_graphs(graphs, reference, golden)
    manifest = _describe(request, golden)
    records = request.records
    if records is not None:
        graphs[records.spec.file] = records.graph
    draft = BundleDraft(
        manifest,
        graphs,
        request.nodes,
        golden,
        render_model_card(manifest, request.rare_classes),
        golden_records=None if records is None else records.golden,
        node_map=request.node_map,
    )
    return write_bundle(folder, draft)


def _describe(request: ExportRequest, golden: GoldenRows) -> Manifest:
    features, names = request.features, request.feature_names or None
    form = _form(features)
    inputs, outputs = tensor_specs(request.student, form)
    return Manifest(
        format_version=format_of(request.records, request.node_map, names),
        name=request.name,
        created_at=time_of_making(),
        labels=request.labels,
        graphs={
            "cpu": GraphEntry(file=GROUPED_FILE, inputs=inputs, outputs=outputs),
            "cuda": GraphEntry(file=DENSE_FILE, inputs=inputs, outputs=outputs),
        },
        features=FeatureSpec(
            num_features=features.shape[1],
            form=form,
            scaling=request.student.scaling.features,
            cached=request.nodes.cached_features,
            max_nonzeros=None if isinstance(features, np.ndarray) else int(np.diff(features.indptr).max()),
            names=names,
        ),
        records=None if request.records is None else request.records.spec,
        nodes=NodesSpec(
            num_nodes=request.nodes.num_nodes,
            id_kind=request.nodes.id_kind,
            position_width=request.nodes.position_width,
            unseen_rule="mean_of_known_neighbors",
        ),
        map=None if request.node_map is None else map_spec(request.student, request.node_map),
        golden=golden_spec(GOLDEN_FILE, len(golden)),
        architecture=describe_architecture(request.student),
        metrics=request.metrics,
        provenance=request.provenance,
    )


def _form(features: Features) -> FeatureForm:
    return "dense" if isinstance(features, np.ndarray) else "sparse"


def describe_architecture(student: Student) -> Architecture:
    """Widths and experts of a student."""
    return Architecture(
        student=student.kind,
        layer_widths=tuple(student.layer_widths),
        num_experts=tuple(student.num_experts),
        experts_per_row=max(layer.top_k for layer in student.expert_layers()),
        router_width=student_kind(student.kind).router_width(student),
        num_parameters=student.num_parameters(),
        temperature=float(np.float32(student.temperature.item())),
    )
