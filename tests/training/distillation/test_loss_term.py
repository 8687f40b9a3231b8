import pytest
import torch

from rbm_training.config import RoutingConfig
from rbm_training.distillation.loss_term import LossContext, LossTerm, build_terms
from tests.training.objects import SMALL_CONFIG, student_for, trainer_for


class Squares(LossTerm):
    def loss(self, batch):
        return batch.output.logits.square().mean()


def context_of(data, **distill):
    config = SMALL_CONFIG.distill.model_copy(update=distill)
    return LossContext(student_for(data), data.teacher, config, RoutingConfig(commitment=0.5, load_balance=0))


def test_every_registered_loss_has_a_place_and_those_of_weight_zero_are_not_built(data):
    terms = build_terms(context_of(data, adversarial=0.25))
    weights = {name: term and term.weight for name, term in terms.items()}
    assert weights == {"commitment": 0.5, "load_balance": None, "gram": None, "adversarial": 0.25}


def test_a_loss_without_a_field_has_the_weight_of_its_entry(data):
    context = context_of(data, losses={"squares": 0.125})
    assert [Squares.weight_of(name, context) for name in ("squares", "cubes")] == [0.125, 0.0]


@pytest.mark.parametrize("batch_rows", [None, 50])
def test_the_parts_of_all_batches_add_up_to_the_weighted_mean(data, batch_rows):
    trainer = trainer_for(data, student_for(data), batch_rows=batch_rows, pairs="self")
    trainer.terms["squares"] = Squares(0.5, context_of(data))
    trainer.accumulate_gradients()
    with torch.no_grad():
        logits = trainer.student.classify(data.inputs.scaled).logits
    assert trainer.last_terms["squares"] == pytest.approx(0.5 * float(logits.square().mean()), rel=1e-4)
