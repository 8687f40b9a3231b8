import torch

from rbm_training.config import RoutingConfig
from rbm_training.rows import unit_rows
from rbm_training.students.clustering import start_routing
from tests.training.objects import routed_student


def test_routing_starts_without_changing_what_the_student_says():
    student = routed_student(gains=False)
    for layer in student.memory_layers():
        layer.routed = False
        layer.log_scale.data.zero_()
    features, positions = torch.randn(60, 6), torch.randn(60, 4)
    before = student(features, positions)
    assert before.layers == ()
    start_routing(student, features, positions, RoutingConfig(), seed=0)
    after = student(features, positions)
    torch.testing.assert_close(after.logits, before.logits, atol=1e-5, rtol=1e-5)
    assert len(after.layers) == 2


def test_the_memory_starts_at_cluster_centers_of_the_unit_inputs():
    student = routed_student(widths=(3,), num_experts=4)
    centers = unit_rows(torch.randn(4, 10))
    features = (centers.repeat(20, 1) + 0.01 * torch.randn(80, 10))[:, :6]
    positions = (centers.repeat(20, 1) + 0.01 * torch.randn(80, 10))[:, 6:]
    start_routing(student, features, positions, RoutingConfig(), seed=0)
    inputs = unit_rows(student.scaling(features, positions))
    best = (inputs @ student.memory_layers()[0].memory.T).max(dim=1).values
    assert best.min() > 0.99
