import itertools

import pytest

from rbm_training.benchmark.plan import EXPERIMENTS, load_comparison, plan
from rbm_training.config import ConfigError
from rbm_training.config.base import merged
from rbm_training.config.methods import METHODS


def test_runs_are_the_product_of_all_and_those_of_one_teacher_stand_together(comparison):
    config = load_comparison(
        comparison, ['settings=["transductive", "inductive"]', 'protocols=["public", "cpf"]']
    )
    runs = plan(config)
    assert len({run.identity for run in runs}) == len(runs) == 1 * 2 * 2 * 2 * 2
    cells = [run.identity.cell for run in runs]
    assert len([1 for before, after in itertools.pairwise(cells) if before != after]) == 7


def test_a_run_is_its_methods_experiment_on_its_dataset_with_one_thread(comparison):
    glnn, rbm = plan(
        load_comparison(comparison, ["seeds=[3]", 'settings=["inductive"]', 'protocols=["cpf"]'])
    )
    assert (glnn.experiment.student.kind, glnn.experiment.positions.kind) == ("mlp", "none")
    assert (rbm.experiment.student.kind, rbm.experiment.positions.width) == ("rbm", 8)
    for run in (glnn, rbm):
        assert run.experiment.seeds == (3,)
        assert run.experiment.num_threads == 1
        assert run.experiment.dataset.setting == "inductive"
        assert run.experiment.dataset.split == "random"
        assert run.experiment.teacher.max_epochs == 20


def test_the_experiment_of_a_datasets_name_is_where_its_runs_begin(comparison, tmp_path):
    (tmp_path / "small.toml").write_text('name = "x"\n[distill]\ntemperature = 3.0\nmax_epochs = 7\n')
    config = load_comparison(comparison, [f"experiments={tmp_path}"])
    assert {run.experiment.distill.temperature for run in plan(config)} == {3.0}
    assert {run.experiment.distill.max_epochs for run in plan(config)} == {12}  # the comparison's own word


def test_a_setting_may_have_an_experiment_of_its_own(comparison, tmp_path):
    (tmp_path / "small.toml").write_text("[distill]\ntemperature = 3.0\n")
    (tmp_path / "small-inductive.toml").write_text("[distill]\ntemperature = 4.0\n")
    overrides = [f"experiments={tmp_path}", 'settings=["transductive", "inductive"]']
    found = {
        (run.identity.setting, run.experiment.distill.temperature)
        for run in plan(load_comparison(comparison, overrides))
    }
    assert found == {("transductive", 3.0), ("inductive", 4.0)}


def test_methods_can_be_changed_and_new_ones_described(comparison):
    overrides = [
        "method.rbm.student.num_experts=6",
        "method.rbm-sharp.like=rbm",
        "method.rbm-sharp.student.routing_temperature=0.1",
        'methods=["rbm", "rbm-sharp"]',
        "seeds=[0]",
    ]
    rbm, sharp = (run.experiment.student for run in plan(load_comparison(comparison, overrides)))
    assert (rbm.num_experts, rbm.routing_temperature) == (6, 1.0)
    assert (sharp.num_experts, sharp.routing_temperature) == (4, 0.1)


def test_the_teacher_is_part_of_a_runs_identity(comparison):
    overrides = ["experiment.teacher={kind = 'appnp', members = 3}"]
    assert {run.identity.teacher for run in plan(load_comparison(comparison, overrides))} == {"appnp-x3"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('methods=["nosmgo"]', r"found method 'nosmgo'; wanted one of glnn, krd.*; did you mean .nosmog.\?"),
        ("method.mine.student.hidden=8", r"found method 'mine'; wanted .*\[method\.mine\] with `like`"),
        ("method.mine.like=rbn", r"found method 'rbn'; wanted .*; did you mean .rbm.\?"),
        ("datasets=[]", "datasets: found .*; wanted a list of at least 1"),
        ('protocols=["C"]', "protocols"),
        ("seed=[1]", 'seed: found an unknown key; did you mean "seeds"'),
    ],
)
def test_a_comparison_that_cannot_be_is_refused_by_name(comparison, override, message):
    with pytest.raises(ConfigError, match=message):
        load_comparison(comparison, [override])


def test_a_method_of_the_comparisons_own_is_suggested_too(comparison):
    overrides = ["method.rbm-sharp.like=rbm", 'methods=["rbm-shrp"]']
    with pytest.raises(ConfigError, match=r"found method 'rbm-shrp'; .*; did you mean .rbm-sharp.\?"):
        load_comparison(comparison, overrides)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "method.rbm.student.hiden=8",
            r"method 'rbm' on 'small': student\.hiden: found an unknown key; did you mean .hidden.\?",
        ),
        ("experiment.teacher={kind = 'precomputed', logits = 'a.npy'}", "reliable"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_any_starts(comparison, override, message):
    config = load_comparison(comparison, [override, 'methods=["glnn", "krd", "rbm"]'])
    with pytest.raises(ConfigError, match=message):
        plan(config)


def test_tables_are_merged_and_the_last_word_counts():
    below = {"a": {"b": 1, "c": 2}, "d": 3}
    assert merged(below, {"a": {"b": 5}}, {"d": {"e": 1}}) == {"a": {"b": 5, "c": 2}, "d": {"e": 1}}
    assert below == {"a": {"b": 1, "c": 2}, "d": 3}


def test_every_method_of_the_literature_is_known():
    assert list(METHODS) == [
        *("glnn", "krd", "nosmog", "mlp", "mlp-ensemble", "mlp-flops-head", "mlp-flops", "mlp-wide"),
        *("moe-head", "moe", "rbm-head", "rbm", "released-mlp", "released-rbm"),
    ]


SHIPPED = sorted((EXPERIMENTS / "comparisons").glob("*.toml")) + sorted(
    (EXPERIMENTS / "ablations").glob("*.toml")
)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_comparison_can_be_run_as_written(path):
    assert plan(load_comparison(path))


def test_protocols_of_the_release_before_are_taken_with_a_warning(comparison):
    with pytest.warns(FutureWarning, match="'A' is called 'cpf' now"):
        assert load_comparison(comparison, ['protocols=["A"]']).protocols == ("cpf",)
