import json
import subprocess
import sys

from tests.training.benchmark.conftest import COMPARISON
from tests.training.objects import SMALL_EXPERIMENT

HEAVY = (
    *("torch", "torch_geometric", "onnx", "onnxruntime", "sklearn", "skl2onnx", "scipy", "gensim", "optuna"),
    *("pandas", "pyarrow", "matplotlib"),
)
PROGRAM = f"""
import json
import sys
from rbm_training.__main__ import main

ends = []
for command in json.load(sys.stdin):
    try:
        status = main(command)
    except SystemExit as end:
        status = end.code
    ends.append([status, [name for name in {HEAVY!r} if name in sys.modules]])
print(json.dumps(ends))
"""
SEARCH = 'experiment = "small.toml"\n[space."student.hidden"]\nchoices = [8, 16]\n'


def ends_of(commands, folder):
    """The exit status of each command, one after the other in one process, and what is imported by then."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    return json.loads(result.stdout.splitlines()[-1])


def test_help_and_errors_of_usage_import_nothing_that_trains(tmp_path):
    names = ["run", "compare", "tune", "show", "datasets", "init", "check"]
    helps = [["--help"], ["--version"], *([name, "--help"] for name in names)]
    mistakes = [[], ["rum"], ["run", "small.toml"], ["show"], ["init"], ["check"]]
    assert ends_of([*helps, *mistakes], tmp_path) == [[0, []]] * len(helps) + [[2, []]] * len(mistakes)


def test_errors_of_a_file_import_nothing_that_trains(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL_EXPERIMENT)
    (tmp_path / "comparison.toml").write_text(COMPARISON.format(root=tmp_path))
    (tmp_path / "search.toml").write_text(SEARCH)
    (tmp_path / "no.toml").write_text("name = ")
    mistakes = [
        *(["run", "none.toml"], ["run", "no.toml"]),
        ["run", "small.toml", "--set", "student.hiden=8"],
        ["run", "small.toml", "--set", "student.hidden=wide"],
        ["run", "small.toml", "--set", "teacher.kind=rbm"],
        ["compare", "comparison.toml", "--set", "method.rbm.student.hiden=8"],
        ["compare", "comparison.toml", "--set", 'methods=["rbn"]'],
        ["tune", "search.toml", "--set", "trials=3"],
        ["tune", "search.toml", "--set", "overrides.student.hiden=8"],
    ]
    assert ends_of([[*words, "--out", "out"] for words in mistakes], tmp_path) == [[1, []]] * len(mistakes)
    assert not (tmp_path / "out").exists()
    checks = [["check", "none.toml"], ["check", "small.toml", "--set", "seeds=3"]]
    assert ends_of(checks, tmp_path) == [[1, []]] * 2


def test_named_sets_and_a_finished_run_are_shown_without_anything_that_trains(tmp_path):
    report = {"name": "mine", "dataset": "cora", "setting": "transductive", "seeds": [0]}
    (tmp_path / "report.json").write_text(json.dumps(report | {"test_accuracy_max": 0.8}))
    commands = [["datasets"], ["show", "."], ["show", "none"]]
    assert ends_of(commands, tmp_path) == [[0, []], [0, []], [1, []]]
