"""Real bundles of students with random weights: neither speed nor the service depends on their values."""

from pathlib import Path

import torch

from rbm_bundle import Bundle
from rbm_bundle.manifest_parts import FeatureScaling, Metrics, Provenance
from rbm_training.config import StudentConfig
from rbm_training.data.graph import Floats, Graph
from rbm_training.data.scaling import InputScaling
from rbm_training.export import ExportRequest, build_node_table, export_bundle
from rbm_training.export.records_graph import RecordsPart
from rbm_training.students.expert_layer import ExpertLayer
from rbm_training.students.kind import build_student, student_kind
from rbm_training.students.moe import MoELayer
from rbm_training.students.rbm.layer import RbMLayer
from rbm_training.students.student import Student


def random_student(
    num_features: int,
    widths: list[int],
    seed: int,
    weight_std: float = 1.0,
    features: FeatureScaling = "l2",
    position_norm: float | None = 0.5,
    **shape: object,
) -> Student:
    """A student as the fields of `StudentConfig` in `shape` describe it, its routing started.

    Args:
        widths: [D, H, …, C].
    """
    torch.manual_seed(seed)
    scaling = InputScaling(num_features, features, position_norm)
    if features == "standardised":
        scaling.fit(torch.randn(50, num_features) * 3 + 1)
    config = StudentConfig.model_validate(
        {"num_layers": len(widths) - 1, "dropout": 0.0, "moe_layers": "all", **shape}
    )
    num_members = student_kind(config.kind).num_members(config)
    members = [build_student(scaling, widths, config) for _ in range(num_members or 1)]
    for member in members:
        for layer in member.expert_layers():
            _randomise(layer, weight_std)
    student = members[0] if num_members is None else student_kind(config.kind).join(members)
    return student.eval()


def _randomise(layer: ExpertLayer, weight_std: float) -> None:
    if isinstance(layer, MoELayer):
        layer.upcycle()
        torch.nn.init.normal_(layer.projection)
        torch.nn.init.normal_(layer.projection_bias)
        torch.nn.init.normal_(layer.prototypes)
    elif isinstance(layer, RbMLayer) and layer.metric == "cosine":
        layer.start_routing(torch.randn_like(layer.memory))
        if layer.center is not None:
            layer.center.copy_(layer.read(0.3 * torch.randn(1, layer.weight.shape[1]))[0])
    elif isinstance(layer, RbMLayer):
        layer.start_routing(torch.randn_like(layer.memory), spread=layer.memory.shape[1])
    elif layer.follows:
        layer.upcycle()
    torch.nn.init.normal_(layer.weight, std=weight_std)
    torch.nn.init.normal_(layer.bias)


def write_untrained(
    folder: Path, student: Student, graph: Graph, positions: Floats, records: RecordsPart | None = None
) -> Bundle:
    """The bundle of a student that has learned nothing about the graph, whose features it caches."""
    third = 1 / 3
    request = ExportRequest(
        name=graph.name,
        student=student,
        nodes=build_node_table(graph, positions, cache_features=True),
        features=graph.features,
        positions=positions,
        labels=graph.class_names,
        metrics=Metrics(
            val_accuracy=third,
            test_accuracy=third,
            test_accuracy_std=None,
            teacher_test_accuracy=third,
            unseen_accuracy=None,
            teacher_unseen_accuracy=None,
            calibration_error=0.0,
            num_runs=1,
        ),
        provenance=Provenance(
            git_commit=None,
            dataset=graph.name,
            dataset_sha256="0" * 63 + "7",
            setting="transductive",
            seed=7,
            config={},
            versions={},
        ),
        records=records,
    )
    return export_bundle(folder, request)
