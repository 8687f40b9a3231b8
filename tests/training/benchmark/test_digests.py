"""Runs are the same where nothing that trains them differs."""

from dataclasses import replace

import pytest

from rbm_training.benchmark.digests import config_digest, data_digest, planned_digest
from rbm_training.benchmark.plan import load_comparison, plan
from rbm_training.config import DatasetConfig
from rbm_training.data.loading import load_dataset
from rbm_training.students.budget import InputSize


@pytest.fixture(scope="module")
def dataset():
    return load_dataset(DatasetConfig(kind="synthetic"))


@pytest.fixture
def digests(comparison, dataset):
    """The digest of each method and seed of a comparison, for inputs of a width."""

    def find(*overrides, num_inputs=20):
        runs = plan(load_comparison(comparison, list(overrides)))
        size = InputSize(num_inputs, num_classes=4, position_width=4)
        return {
            (run.identity.method, run.identity.seed): config_digest(run.experiment, dataset, size)
            for run in runs
        }

    return find


def test_seeds_threads_and_names_are_no_part_of_a_configuration(digests):
    found = digests("experiment.export.name=mine")
    assert found["rbm", 0] == found["rbm", 1] == digests()["rbm", 0]
    assert found["rbm", 0] != found["glnn", 0]


@pytest.mark.parametrize(
    "override",
    [
        "experiment.student.top_k=1",
        "experiment.routing.commitment=0.5",
        "experiment.distill.temperature=2.0",
        "experiment.teacher.dropout=0.1",
        "experiment.positions.width=4",
        "experiment.scaling.position_norm=2.0",
        "experiment.dataset.train_per_class=5",
        "experiment.compat=released",
        'settings=["inductive"]',
    ],
)
def test_what_changes_a_run_changes_the_digest(digests, override):
    only = 'methods=["rbm"]'
    assert digests(only, override)["rbm", 0] != digests(only)["rbm", 0]


def test_an_mlp_is_told_by_its_width_and_not_by_how_it_came_to_it(digests):
    methods = 'methods=["mlp", "mlp-flops", "mlp-wide"]'
    one_expert = ["experiment.student.num_experts=1", "experiment.student.top_k=1"]
    same = digests(methods, *one_expert)
    assert same["mlp", 0] == same["mlp-flops", 0] == same["mlp-wide", 0]
    several = digests(methods)
    assert len({several[method, 0] for method in ("mlp", "mlp-flops", "mlp-wide")}) == 3
    assert several["mlp", 0] == same["mlp", 0]
    assert several["mlp-flops", 0] != digests(methods, num_inputs=40)["mlp-flops", 0]


def test_a_student_is_told_by_its_width_and_not_by_its_budget(digests):
    found = digests('methods=["mlp"]', "experiment.student.max_flops=960")["mlp", 0]
    assert found == digests('methods=["mlp"]', "experiment.student.hidden=20")["mlp", 0]


def test_students_to_choose_from_are_told_by_all_their_widths(digests):
    auto = ('methods=["mlp"]', "method.mlp.student.kind=auto")
    first, second, same = (
        digests(*auto, f"experiment.student.max_flops={most}")["mlp", 0] for most in (2_000, 4_000, 4_001)
    )
    assert first != second == same != digests(*auto)["mlp", 0]


def test_a_mixture_is_told_by_the_layers_that_have_experts(digests):
    found = digests('methods=["rbm", "rbm-head"]')
    assert found["rbm", 0] != found["rbm-head", 0]


def test_another_graph_has_another_digest(dataset):
    graph = replace(dataset.graph, labels=dataset.graph.labels[::-1])
    assert data_digest(replace(dataset, graph=graph)) != data_digest(dataset)


def test_a_plan_is_told_by_what_its_file_says_and_not_by_seeds_or_where_data_lie(comparison, tmp_path):
    def planned(*overrides):
        runs = plan(load_comparison(comparison, ['methods=["rbm"]', *overrides]))
        return {planned_digest(run.experiment) for run in runs}

    assert len(planned()) == 1
    assert planned("seeds=[7]", f"data_root={tmp_path}", "experiment.report.baselines=[]") == planned()
    assert planned("experiment.student.dropout=0.3") == planned()  # the default, said
    for changed in ("experiment.student.hidden=8", "experiment.dataset.train_per_class=5"):
        assert planned(changed).isdisjoint(planned())
