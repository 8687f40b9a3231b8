"""A mixture and the layers that have its experts go by one name; and which students can share a route."""

import re

import pytest
from pydantic import ValidationError

from rbm_training.config import ConfigError, ExperimentConfig, StudentConfig, load_config
from rbm_training.config.loading import as_toml

_MATCHED = {"kind": "mlp", "match_budget": "flops", "match_kind": "rbm-head"}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n')
    return path


@pytest.mark.parametrize(
    ("overrides", "kind", "experts"),
    [
        ([], "rbm-head", (1, 4)),
        (["student.moe_layers=all"], "rbm", (4, 4)),
        (["student.kind=rbm", "student.moe_layers=last"], "rbm-head", (1, 4)),
        (["student.kind=rbm", "student.moe_layers=all"], "rbm", (4, 4)),
        (["student.kind=rbm-head"], "rbm-head", (1, 4)),
        (["student.kind=moe-head"], "moe-head", (1, 4)),
        (["student.kind=moe", "student.moe_layers=last"], "moe-head", (1, 4)),
        (["student.num_experts=[2, 4]"], "rbm", (2, 4)),
        (["student.kind=rbm", "student.num_experts=[1, 4]"], "rbm-head", (1, 4)),
        (["student.kind=auto", "student.moe_layers=all"], "auto", (4, 4)),
    ],
)
def test_the_kind_says_which_layers_have_experts(file, overrides, kind, experts):
    student = load_config(file, overrides).student
    assert (student.kind, student.experts_by_layer(2)) == (kind, experts)


@pytest.mark.parametrize("kind", ["rbm", "moe"])
def test_a_mixture_without_layers_now_has_experts_in_all_and_says_so(file, kind):
    with pytest.warns(FutureWarning, match=f"'{kind}' has experts in all layers now, and .*'{kind}-head'"):
        student = load_config(file, [f"student.kind={kind}"]).student
    assert (student.kind, student.experts_by_layer(2)) == (kind, (4, 4))


def test_a_resolved_experiment_reads_back_without_a_warning(file, tmp_path):
    with pytest.warns(FutureWarning, match="all layers"):
        config = load_config(file, ["student.kind=rbm"])
    (tmp_path / "resolved.toml").write_text(as_toml(config))
    assert load_config(tmp_path / "resolved.toml").student == config.student


def test_the_last_layer_and_all_layers_at_once_are_refused(file):
    with pytest.raises(ConfigError, match=r"found student\.kind = 'rbm-head' with .* wanted .* 'rbm'"):
        load_config(file, ["student.kind=rbm-head", "student.moe_layers=all"])


@pytest.mark.parametrize(
    ("layers", "kind", "found"),
    [(None, "rbm-head", "rbm-head"), ("all", "rbm-head", "rbm"), ("all", "mlp", "mlp"), (None, "mlp", "mlp")],
)
def test_of_several_kinds_each_keeps_the_layers_that_are_named(layers, kind, found):
    student = StudentConfig(kind="auto", moe_layers=layers).of_kind(kind)
    assert (student.kind, student.moe_layers is None) == (found, found == "mlp" and layers is None)


def test_an_mlp_of_the_budget_of_a_mixture_in_all_layers_is_still_matched_with_it():
    student = StudentConfig(kind="mlp", moe_layers="all", match_budget="flops")
    assert student.match_kind == "rbm"
    assert StudentConfig(kind="mlp", match_budget="flops").match_kind == "rbm-head"


@pytest.mark.parametrize(
    "overrides",
    [
        ["student.kind=[1]"],
        ["student.kind=[1]", "compat=released"],
        ["student.moe_layers=first"],
        ["student.moe_layers=[1]"],
    ],
)
def test_what_is_no_kind_and_what_are_no_layers_is_refused_by_name(file, overrides):
    with pytest.raises(ConfigError, match=overrides[0].partition("=")[0]):
        load_config(file, overrides)


@pytest.mark.parametrize("student", [{}, {"kind": "rbm"}, {"moe_layers": "last"}, {"kind": "rbm-head"}])
def test_the_released_code_has_experts_in_all_layers(student):
    config = ExperimentConfig.model_validate({"name": "a", "compat": "released", "student": student})
    assert (config.student.kind, config.student.experts_by_layer(2)) == ("rbm", (4, 4))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"moe_layers": "last"}, "found student.shared_routing with layers of 1, 4 experts; wanted as many"),
        ({"num_experts": [2, 4]}, "found student.shared_routing with layers of 2, 4 experts; wanted as many"),
        ({"kind": "auto", "num_experts": [2, 4]}, "found student.shared_routing with layers of 2, 4 experts"),
        ({"kind": "moe"}, "found student.shared_routing with student.kind = 'moe', whose layers learn"),
        (
            _MATCHED,
            "found student.shared_routing with layers of 1, 4 experts; wanted as many in each layer, as",
        ),
        (
            {**_MATCHED, "match_kind": "moe"},
            "found student.shared_routing with student.match_kind = 'moe', whose layers",
        ),
    ],
)
def test_layers_that_cannot_follow_the_first_one_are_refused(shape, message):
    shape = {"kind": "rbm", **({} if "num_experts" in shape else {"moe_layers": "all"}), **shape}
    StudentConfig.model_validate(shape)
    with pytest.raises(ValidationError, match=re.escape(message)):
        StudentConfig.model_validate({**shape, "shared_routing": True})


@pytest.mark.parametrize("shape", [{"num_experts": [3, 3]}, {"kind": "mlp", "num_experts": [1, 4]}])
def test_layers_of_as_many_experts_share_and_an_mlp_has_nothing_to_share(shape):
    assert StudentConfig.model_validate({"moe_layers": "all", **shape, "shared_routing": True}).shared_routing
