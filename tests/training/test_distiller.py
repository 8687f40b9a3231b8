import pytest
import torch

from rbm_training.config import RoutingConfig
from tests.training.objects import distiller_for, student_for

NO_BALANCE = RoutingConfig(load_balance=0.0)  # the one term that is not linear in its rows


def epoch_gradient(prepared, batch_rows):
    """The first epoch's gradient of a routed student, for a batch size."""
    student = student_for(prepared)
    torch.manual_seed(5)
    distiller = distiller_for(prepared, student, NO_BALANCE, batch_rows=batch_rows, pairs="reliable")
    distiller.routing_started = True
    distiller.accumulate_gradients()
    return torch.cat([parameter.grad.flatten() for parameter in student.parameters()])


@pytest.mark.parametrize("batch_rows", [1, 7, 100, 10_000])
def test_the_epoch_gradient_does_not_depend_on_the_batch_size(prepared, batch_rows):
    whole = epoch_gradient(prepared, None)
    torch.testing.assert_close(epoch_gradient(prepared, batch_rows), whole, atol=1e-5, rtol=1e-4)


def test_the_memory_rests_while_one_expert_warms_up(prepared):
    student = student_for(prepared)
    for layer in student.memory_layers():
        layer.routed = False
    distiller = distiller_for(prepared, student)
    for _ in range(distiller.routing.revive_after + 2):
        distiller.train_epoch()
    assert all((average.idle_steps == 0).all() for average in distiller.memory.layers)
