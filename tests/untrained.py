"""Real bundles of students with random weights: neither speed nor the service depends on their values."""

from pathlib import Path

import torch

from rbm_bundle import Bundle
from rbm_bundle.manifest import Metrics, Provenance
from rbm_training.config import StudentConfig
from rbm_training.export import ExportRequest, build_node_table, export_bundle
from rbm_training.graph import Floats, Graph
from rbm_training.scaling import InputScaling
from rbm_training.students.student import Student, build_student


def random_student(
    num_features: int, widths: list[int], num_experts: int, seed: int, weight_std: float = 1.0
) -> Student:
    """A routed student, two experts a row."""
    torch.manual_seed(seed)
    scaling = InputScaling(num_features, "l2", 0.5)
    shape = StudentConfig(num_layers=len(widths) - 1, num_experts=num_experts, experts_per_row=2, dropout=0.0)
    student = build_student(scaling, widths, shape)
    for layer in student.memory_layers():
        layer.start_routing(torch.randn_like(layer.memory))
        torch.nn.init.normal_(layer.weight, std=weight_std)
        torch.nn.init.normal_(layer.bias)
    return student.eval()


def write_untrained(folder: Path, student: Student, graph: Graph, positions: Floats) -> Bundle:
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
    )
    return export_bundle(folder, request)
