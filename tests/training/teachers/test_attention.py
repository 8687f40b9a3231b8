import pytest
import torch

from rbm_training.teachers.attention import GraphAttention
from tests.training.teachers.pyg_networks import gat_conv


@pytest.mark.parametrize(("width", "heads"), [(128, 8), (6, 3), (7, 1)])
def test_a_seed_draws_the_weights_that_it_draws_in_pytorch_geometric_and_leaves_the_stream_alike(
    width, heads
):
    drawn = []
    for make in (gat_conv, lambda width, heads: GraphAttention(width, heads, dropout=0.0)):
        torch.manual_seed(5)
        drawn.append((make(width, heads).state_dict(), torch.rand(3)))
    (expected, expected_next), (found, found_next) = drawn
    assert list(found) == list(expected) == ["att_src", "att_dst"]
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert torch.equal(found_next, expected_next)
