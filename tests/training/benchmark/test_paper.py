"""The paper's hyper-parameters, as a comparison gives them to its methods."""

import pytest

from rbm_training.benchmark.paper import PUBLISHED_AS, paper_settings
from rbm_training.benchmark.plan import load_comparison, plan
from rbm_training.config import ConfigError
from rbm_training.config.registry import STUDENTS

ON_CORA = ('datasets=["cora"]', "seeds=[0]", "experiment={}")
GRAPHS = (
    *("cora", "citeseer", "pubmed", "amazon-computers", "amazon-photo"),
    *("coauthor-cs", "coauthor-physics"),
)


def students(comparison, *overrides):
    runs = plan(load_comparison(comparison, [*ON_CORA, *overrides]))
    return {run.identity.method: run.experiment for run in runs}


def test_rbm_is_the_papers_student_where_the_paper_has_one(comparison):
    found = students(comparison, 'methods=["rbm", "rbm-head"]')
    paper, own = found["rbm"].student, found["rbm-head"].student
    assert (paper.num_layers, paper.hidden, paper.num_experts, paper.top_k) == (3, 512, 4, 3)
    assert paper.experts_by_layer(3) == (4, 4, 4)
    assert (own.num_layers, own.hidden, own.experts_by_layer(2)) == (2, 128, (1, 4))
    assert (found["rbm"].distill.temperature, found["rbm"].routing.commitment) == (1.29, 0.0)


def test_a_setting_has_hyper_parameters_of_its_own(comparison):
    found = students(comparison, 'methods=["rbm"]', 'settings=["inductive"]')["rbm"]
    assert (found.student.hidden, found.student.input_gains, found.distill.temperature) == (256, True, 0.6)
    assert (found.positions.kind, found.scaling.position_norm) == ("deepwalk", 0.5)


def test_all_students_of_a_seed_have_one_teacher(comparison):
    found = students(comparison, 'methods=["glnn", "mlp-flops", "moe", "rbm", "rbm-head", "released-rbm"]')
    assert len({experiment.teacher for experiment in found.values()}) == 1


def test_an_mlp_of_equal_cost_is_trained_as_the_papers_and_measured_by_its_rbm(comparison):
    mlp = students(comparison, 'methods=["mlp-flops"]')["mlp-flops"].student
    assert (mlp.dropout, mlp.num_experts, mlp.top_k, mlp.match_kind) == (0.6, 4, 3, "rbm")


def test_a_method_says_whose_settings_it_has(comparison):
    overrides = ["method.rbm.settings=own", "method.mlp.settings=paper", 'methods=["rbm", "mlp"]']
    found = students(comparison, *overrides)
    assert (found["rbm"].student.hidden, found["mlp"].student.hidden) == (128, 512)
    with pytest.raises(ConfigError, match=r"found method\.rbm\.settings = 'ours'; wanted 'paper' or 'own'"):
        load_comparison(comparison, ["method.rbm.settings=ours"])


def test_what_a_comparison_says_of_all_runs_comes_before_the_paper(comparison):
    found = students(comparison, 'methods=["rbm"]', "experiment.student.hidden=32")["rbm"].student
    assert (found.hidden, found.num_layers) == (32, 3)


def test_a_graph_that_the_paper_does_not_have_keeps_its_own(comparison):
    assert plan(load_comparison(comparison, ['methods=["rbm"]']))[0].experiment.student.hidden == 16


@pytest.mark.parametrize("dataset", GRAPHS)
@pytest.mark.parametrize("setting", ["transductive", "inductive"])
def test_every_student_has_settings_on_every_graph_of_the_paper(dataset, setting):
    for kind in PUBLISHED_AS:
        assert paper_settings(dataset, setting, {"kind": kind})["student"]["hidden"] >= 64


def test_every_student_that_learns_from_a_teacher_is_known_to_the_paper():
    assert set(PUBLISHED_AS) == {*STUDENTS} - {"linear"}


def test_the_released_codes_ways_are_rows_of_their_own(comparison):
    found = students(comparison, 'methods=["released-rbm", "released-mlp"]')
    assert [(run.compat, run.student.kind) for run in found.values()] == [
        ("released", "rbm"),
        ("released", "mlp"),
    ]
