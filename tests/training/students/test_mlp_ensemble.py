import pytest
import scipy.sparse as sp
import torch

from rbm_training.config import StudentConfig
from rbm_training.data.scaling import InputScaling
from rbm_training.data.sparse_rows import rows_of
from rbm_training.students.kind import build_student
from rbm_training.students.mlp_ensemble import average_students
from tests.training.objects import CPU


@pytest.mark.parametrize("widths", [(3,), (8, 3), (8, 8, 3), (8, 8, 8, 3)])
@pytest.mark.parametrize("sparse", [False, True])
def test_the_joined_student_says_the_mean_of_its_members(widths, sparse):
    scaling = InputScaling(6, "l2", 0.5)
    shape = StudentConfig(kind="mlp", num_layers=len(widths), hidden=8)
    members = [build_student(scaling, [10, *widths], shape).eval() for _ in range(3)]
    for member in members:
        for layer in member.expert_layers():
            torch.nn.init.normal_(layer.bias)
    joined = average_students(members).eval()
    features, positions = torch.randn(20, 6).relu(), torch.randn(20, 4)
    rows = rows_of(sp.csr_array(features.numpy()), CPU) if sparse else features
    with torch.no_grad():
        wanted = torch.stack([member(rows, positions).logits for member in members]).mean(dim=0)
        torch.testing.assert_close(joined(rows, positions).logits, wanted, atol=1e-5, rtol=1e-5)
    assert [layer.weight.shape[2] for layer in joined.expert_layers()] == [3 * w for w in widths[:-1]] + [3]
