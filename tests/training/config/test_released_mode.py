import pytest

from rbm_training.config import ConfigError, load_config


@pytest.mark.parametrize(
    "override",
    [
        "student.kind=moe",
        "student.kind=auto",
        "student.metric=euclidean",
        "student.routing_temperature=0.5",
        "student.routing_input=features",
        "student.shared_routing=true",
        "student.num_experts=[2, 4]",
        "student.center_queries=true",
        "routing.memory_init=random",
        "routing.memory_step=optimizer_step",
        "routing.clone_noise=0.1",
        "distill.gram=0.1",
        "distill.adversarial=0.1",
        "distill.pair_weight=node",
        "distill.decoupled_weight_decay=true",
        "distill.position_dropout=0.1",
    ],
)
def test_what_the_released_code_does_not_do_is_refused_in_its_mode(small_experiment, override):
    name = override.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"found compat = 'released' with .*{name}.*; wanted the RbM"):
        load_config(small_experiment, ["compat=released", override])


def test_the_released_mode_makes_one_step_an_epoch(small_experiment):
    batches = ["distill.step_after=batch", "distill.batch_rows=64"]
    with pytest.raises(ConfigError, match=r"found compat = 'released' with distill\.step_after = 'batch';"):
        load_config(small_experiment, ["compat=released", *batches])
    assert load_config(small_experiment, ["compat=released", batches[1]]).distill.batch_rows == 64


def test_a_mask_for_each_expert_is_the_way_of_the_released_code(small_experiment):
    overrides = ["compat=released", "student.expert_dropout=true"]
    assert load_config(small_experiment, overrides).student.expert_dropout
