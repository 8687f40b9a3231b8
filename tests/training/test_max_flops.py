"""A run under a budget of operations: from candidates of its width to what is shipped and told."""

import json

import pytest

from rbm_bundle.bundle import read_bundle
from rbm_training.__main__ import main
from rbm_training.config import StudentConfig
from rbm_training.reporting.html import PAGE_FILE
from rbm_training.runtime.log import LOG_FILE
from rbm_training.students.budget import InputSize, widths_of
from tests.training.objects import train

BUDGET = 1_000
D, C, P = 40, 4, 8  # of the small experiment


@pytest.fixture
def experiment(small_experiment):
    text = small_experiment.read_text().replace('moe_layers = "all"', f'kind = "auto"\nmax_flops = {BUDGET}')
    small_experiment.write_text(text)
    return small_experiment


def events(folder):
    lines = map(json.loads, (folder / LOG_FILE).read_text().splitlines())
    return [line for line in lines if line["event"] == "student"]


@pytest.mark.slow
def test_the_best_on_validation_of_those_within_the_budget_is_shipped_and_told(experiment, tmp_path, capsys):
    folder = tmp_path / "run"
    assert train(experiment, folder, "export.refit=true", "distill.max_epochs=80") == 0
    tried = {(each["kind"], max(each["num_experts"])): each for each in events(folder)}
    hidden = {name: each["layer_widths"][1:-1] for name, each in tried.items()}
    mixtures = {E: (BUDGET - 2 * C - (3 + 2 * E) * P) // (2 * D + 2 * C + 2) for E in (8, 32)}
    assert hidden == {
        ("mlp", 1): [BUDGET // (2 * (D + C))],
        ("rbm", 8): [mixtures[8]],
        ("rbm", 32): [mixtures[32]],
        ("linear", 1): [],
    }
    assert all(each["flops_per_node"] <= BUDGET for each in tried.values())
    report = json.loads((folder / "report.json").read_text())
    chosen = tried[report["student"], max(report["num_experts"])]
    assert chosen["val_accuracy"] == max(each["val_accuracy"] for each in tried.values())
    told = ("layer_widths", "num_experts", "flops_per_node", "sparse_flops_per_node")
    assert [report[name] for name in told] == [chosen[name] for name in told]
    manifest = read_bundle(folder / "bundle").manifest
    assert (manifest.provenance.refit, manifest.architecture.layer_widths) == (
        report["is_refit"],
        tuple(chosen["layer_widths"]),
    )
    shape = StudentConfig.model_validate(manifest.provenance.config["student"]["chosen"])
    assert (shape.kind, widths_of(shape, InputSize(D, C, P))) == (chosen["kind"], chosen["layer_widths"])
    widths = " → ".join(map(str, chosen["layer_widths"]))
    assert f">{widths}</td>" in (folder / PAGE_FILE).read_text()
    assert f"{widths}; {chosen['flops_per_node']:,} FLOPs a node" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_another_kind_is_as_wide_as_its_budget_allows(experiment, tmp_path):
    assert train(experiment, tmp_path / "run", "student.kind=mlp", "student.num_layers=3") == 0
    [told] = events(tmp_path / "run")
    H = told["layer_widths"][1]
    assert told["flops_per_node"] == 2 * (D * H + H * H + H * C) <= BUDGET
    assert 2 * (D * (H + 1) + (H + 1) ** 2 + (H + 1) * C) > BUDGET


@pytest.mark.slow
def test_a_budget_that_no_student_keeps_to_is_refused_with_what_the_smallest_costs(
    experiment, tmp_path, capsys
):
    assert train(experiment, tmp_path / "run", "student.max_flops=100") == 1
    least = 2 * (D + C) * 2
    assert f"found student.max_flops = 100; wanted at least {least}" in capsys.readouterr().err


def test_a_check_counts_the_students_of_a_budget(experiment, capsys):
    assert main(["check", str(experiment)]) == 0
    assert "1 of a teacher, 4 of a student" in " ".join(capsys.readouterr().out.split())


def test_there_is_one_budget(experiment, capsys):
    assert main(["check", str(experiment), "--set", "student.match_budget=flops"]) == 1
    assert "found student.match_budget with student.max_flops; wanted one" in capsys.readouterr().err
