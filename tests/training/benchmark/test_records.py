import json

import pytest
from pydantic import ValidationError

from rbm_training.benchmark.records import ResultsError, ResultsFile, RunLine, production_accuracy
from tests.training.benchmark.run_lines import PLAIN, inductive_line, run_line


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.jsonl"


def test_what_was_appended_is_read_back_to_the_last_bit(path):
    lines = [
        run_line(test_accuracy=1 / 3),
        inductive_line(0.1 + 0.2, 2 / 3),
        inductive_line(0.7, None, seed=1),
    ]
    for line in lines:
        ResultsFile(path).append(line)
    assert ResultsFile(path).read() == lines
    assert len(path.read_bytes().splitlines()) == len(lines)


def test_without_a_file_there_are_no_runs(path):
    assert ResultsFile(path).read() == []


def test_a_torn_last_line_is_dropped_and_cut_off_before_the_next(path):
    results = ResultsFile(path)
    results.append(run_line(seed=0))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    assert results.read() == [run_line(seed=0)]
    results.append(run_line(seed=1))
    assert results.read() == [run_line(seed=0), run_line(seed=1)]


def test_a_file_that_holds_nothing_but_a_torn_line_starts_anew(path):
    path.write_bytes(b'{"dataset": "co')
    results = ResultsFile(path)
    assert results.read() == []
    results.append(run_line())
    assert results.read() == [run_line()]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "Invalid JSON"),
        ("", "Invalid JSON"),
        (json.dumps({**PLAIN, "accuracy": 1}), "accuracy: Extra inputs"),
        (json.dumps({**PLAIN, "protocol": "C"}), "protocol: Input should be 'cpf' or 'public'"),
        (json.dumps({**PLAIN, "test_accuracy": 82.0}), "test_accuracy: Input should be less than"),
        (json.dumps({**PLAIN, "val_accuracy": None}), "val_accuracy: Input should be a valid number"),
        (json.dumps({**PLAIN, "method": "rbm | best"}), "method: String should match"),
    ],
)
def test_a_whole_line_that_is_no_run_is_refused_by_file_and_number(path, text, found):
    ResultsFile(path).append(run_line())
    path.write_text(path.read_text() + text + "\n")
    with pytest.raises(ResultsError) as error:
        ResultsFile(path).read()
    assert str(error.value).startswith(f"{path}, line 2: found {found}")
    assert str(error.value).endswith("wanted a run as one JSON object")


def test_the_same_run_twice_is_refused_and_both_lines_are_named(path):
    for line in (run_line(), run_line(seed=1), run_line(test_accuracy=0.5)):
        ResultsFile(path).append(line)
    with pytest.raises(ResultsError, match=r"line 3: found the run of line 1 again .*wanted every run once"):
        ResultsFile(path).read()


OLD = {
    name: value
    for name, value in PLAIN.items()
    if name not in ("release", "config_digest", "data_digest", "agreement", "kl")
}


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ("rbm", "rbm-head"),
        ("mlp-flops", "mlp-flops-head"),
        ("mlp-wide", "mlp-wide-head"),
        ("moe", "moe"),
        ("mlp", "mlp"),
    ],
)
def test_a_line_of_before_is_read_under_the_name_of_what_was_run(path, stored, name):
    path.write_text(json.dumps({**OLD, "method": stored}) + "\n")
    (line,) = ResultsFile(path).read()
    assert (line.method, line.config_digest, line.agreement, line.kl) == (name, None, None, None)


@pytest.mark.parametrize("key", ["dataset", "protocol", "setting", "teacher", "method", "seed"])
def test_each_part_of_the_identity_makes_another_run(key):
    other = {"dataset": "pubmed", "protocol": "cpf", "teacher": "appnp-x3", "method": "rbm-frozen", "seed": 3}
    changed = inductive_line(0.8, 0.8) if key == "setting" else run_line(**{key: other[key]})
    assert changed.identity != run_line().identity
    assert run_line(test_accuracy=0.1, seconds=1, git_commit=None).identity == run_line().identity


def test_a_transductive_run_has_no_accuracy_on_unseen_nodes():
    with pytest.raises(ValidationError, match=r"unseen_accuracy 0\.8 in a transductive run"):
        run_line(unseen_accuracy=0.8)


def inductive_parts(**changes):
    return {**inductive_line(0.7, 0.8).model_dump(), **changes}


def test_an_inductive_run_is_tested_on_its_unseen_nodes():
    with pytest.raises(ValidationError, match=r"unseen_accuracy 0\.6 beside test_accuracy 0\.7"):
        RunLine(**inductive_parts(unseen_accuracy=0.6))


def test_production_is_a_fifth_unseen_and_four_fifths_observed():
    assert production_accuracy(0.5, 1.0) == pytest.approx(0.9)
    with pytest.raises(ValidationError, match=r"production_accuracy 0.7; .* give 0.78"):
        RunLine(**inductive_parts(production_accuracy=0.7))


@pytest.mark.parametrize("missing", ["observed_test_accuracy", "production_accuracy"])
def test_production_and_observed_test_nodes_are_there_together_or_not_at_all(missing):
    with pytest.raises(ValidationError, match="production_accuracy"):
        RunLine(**inductive_parts(**{missing: None}))


def test_a_line_of_an_earlier_file_is_read_under_the_protocols_new_name():
    line = run_line().model_dump(mode="json") | {"protocol": "A"}
    assert RunLine.model_validate(line).protocol == "cpf"


def test_a_method_may_be_a_point_of_a_grid():
    assert run_line(method="rbm-by-positions H=4 E=8 K=1").identity.method == "rbm-by-positions H=4 E=8 K=1"
    with pytest.raises(ValidationError, match="method"):
        run_line(method="rbm of mine")
