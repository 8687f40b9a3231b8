"""Real bundles of students with random weights: neither speed nor the service depends on their values."""

from pathlib import Path

import torch

from rbm_bundle import Bundle
from rbm_bundle.manifest import FeatureScaling, Metrics, Provenance
from rbm_training.config import StudentConfig
from rbm_training.config.student import StudentKind
from rbm_training.data.graph import Floats, Graph
from rbm_training.data.scaling import InputScaling
from rbm_training.export import ExportRequest, build_node_table, export_bundle
from rbm_training.students.ensemble import average_students
from rbm_training.students.expert_layer import ExpertLayer
from rbm_training.students.moe import MoELayer
from rbm_training.students.rbm.layer import RbMLayer
from rbm_training.students.student import Student, build_student


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
    num_students = config.num_members if config.kind == "mlp-ensemble" else 1
    members = [build_student(scaling, widths, config) for _ in range(num_students)]
    for member in members:
        for layer in member.expert_layers():
            _randomise(layer, weight_std)
    return (members[0] if num_students == 1 else average_students(members)).eval()


def _randomise(layer: ExpertLayer, weight_std: float) -> None:
    if isinstance(layer, MoELayer):
        layer.start_routing()
        torch.nn.init.normal_(layer.projection)
        torch.nn.init.normal_(layer.projection_bias)
        torch.nn.init.normal_(layer.prototypes)
    elif isinstance(layer, RbMLayer) and layer.metric == "cosine":
        layer.start_routing(torch.randn_like(layer.memory))
    elif isinstance(layer, RbMLayer):
        layer.start_routing(torch.randn_like(layer.memory), spread=layer.memory.shape[1])
    torch.nn.init.normal_(layer.weight, std=weight_std)
    torch.nn.init.normal_(layer.bias)


def write_untrained(
    folder: Path, student: Student, graph: Graph, positions: Floats, kind: StudentKind = "rbm"
) -> Bundle:
    """The bundle of a student that has learned nothing about the graph, whose features it caches."""
    third = 1 / 3
    request = ExportRequest(
        name=graph.name,
        kind=kind,
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
    )
    return export_bundle(folder, request)
