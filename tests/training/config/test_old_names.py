"""Names of the release before are still taken."""

import pytest

from rbm_training.config import ConfigError, load_config


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("student.experts_per_row=1", "student.top_k", 1),
        ("student.expert_layers=all", "student.moe_layers", "all"),
        ("student.expert_layers=last", "student.moe_layers", "last"),
        ("student.equal_cost=flops", "student.match_budget", "flops"),
        ("student.sharpness=8", "student.routing_temperature", 0.125),
        ("routing.memory_start=random", "routing.memory_init", "random"),
        ("routing.momentum=0.5", "routing.ema_decay", 0.5),
        ("routing.revive_after=3", "routing.reinit_dead_after", 3),
        ("report.beside=['glnn']", "report.baselines", ("glnn",)),
        ("dataset.split=drawn", "dataset.split", "random"),
    ],
)
def test_a_name_of_the_release_before_is_taken_with_a_warning(tmp_path, old, new, value):
    (tmp_path / "mine.toml").write_text('name = "mine"\n')
    table, field = new.split(".")
    with pytest.warns(FutureWarning, match=f"is called '?{value if field == 'split' else field}'? now"):
        config = load_config(tmp_path / "mine.toml", [old])
    assert getattr(getattr(config, table), field) == value


def test_the_old_and_the_new_name_of_a_field_at_once_are_refused(tmp_path):
    (tmp_path / "mine.toml").write_text('name = "mine"\n')
    with pytest.raises(ConfigError, match="found both momentum and ema_decay"):
        load_config(tmp_path / "mine.toml", ["routing.momentum=0.5", "routing.ema_decay=0.5"])


def test_what_has_no_inverse_is_refused_under_the_new_name(tmp_path):
    (tmp_path / "mine.toml").write_text('name = "mine"\n')
    with (
        pytest.warns(FutureWarning, match="routing_temperature"),
        pytest.raises(ConfigError, match=r"student\.routing_temperature: found .*; wanted more than 0"),
    ):
        load_config(tmp_path / "mine.toml", ["student.sharpness=0"])
