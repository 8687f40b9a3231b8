"""Which students can share the routing of their first layer."""

import re

import pytest
from pydantic import ValidationError

from rbm_training.config import StudentConfig


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"moe_layers": "last"}, "found student.shared_routing with layers of 1, 4 experts; wanted as many"),
        ({"num_experts": [2, 4]}, "found student.shared_routing with layers of 2, 4 experts; wanted as many"),
        ({"kind": "auto", "num_experts": [2, 4]}, "found student.shared_routing with layers of 2, 4 experts"),
        ({"kind": "moe"}, "found student.shared_routing with student.kind = 'moe', each layer of which"),
    ],
)
def test_layers_that_cannot_follow_the_first_one_are_refused(shape, message):
    shape = {"kind": "rbm", "moe_layers": "all", **shape}
    StudentConfig.model_validate(shape)
    with pytest.raises(ValidationError, match=re.escape(message)):
        StudentConfig.model_validate({**shape, "shared_routing": True})


@pytest.mark.parametrize("shape", [{"num_experts": [3, 3]}, {"kind": "mlp", "num_experts": [1, 4]}])
def test_layers_of_as_many_experts_share_and_an_mlp_has_nothing_to_share(shape):
    assert StudentConfig.model_validate({"moe_layers": "all", **shape, "shared_routing": True}).shared_routing
