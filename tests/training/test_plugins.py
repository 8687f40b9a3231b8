"""Kinds that a user registers: the page that explains them is the module that is tested."""

import json
import re
import sys
from pathlib import Path

import pytest

from rbm_bundle.bundle import read_bundle
from rbm_training.__main__ import main
from rbm_training.config import ConfigError, load_config, registry
from rbm_training.data.loading import load_dataset
from rbm_training.distillation.student_artifact import student_key
from rbm_training.distillation.training_data import cache_key
from tests.classifying import classify, serve
from tests.training.benchmark.conftest import COMPARISON, write_data_root
from tests.training.objects import SMALL_CONFIG, SMALL_EXPERIMENT, train

PAGE = Path(__file__).parents[2] / "docs" / "contributing-a-student.md"
KINDS = [
    "student.kind=hyperplanes",
    "teacher.kind=structure-free",
    "positions={kind = 'degree', width = 8}",
]
REGISTRIES = (registry.STUDENTS, registry.TEACHERS, registry.ENCODINGS, registry.LOSSES)


@pytest.fixture
def write_plugin(tmp_path, monkeypatch):
    """Writes a module on Python's path; what it registers is forgotten after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    for each in REGISTRIES:
        monkeypatch.setattr(each, "_entries", dict(each._entries))
    before = set(sys.modules)

    def write(code, name="my_kinds"):
        (tmp_path / f"{name}.py").write_text(code)

    yield write
    for name in set(sys.modules) - before:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(f'plugins = ["my_kinds"]\n{SMALL_EXPERIMENT}\n[distill.losses]\nconfidence = 0.1\n')
    return path


def page_as_module():
    return "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))


@pytest.mark.slow
def test_kinds_of_a_plugin_are_trained_exported_served_and_explained(write_plugin, experiment, tmp_path):
    write_plugin(page_as_module())
    assert train(experiment, tmp_path / "run", *KINDS) == 0
    bundle = read_bundle(tmp_path / "run" / "bundle")
    assert bundle.manifest.architecture.student == "hyperplanes"
    card = (bundle.path / "MODEL_CARD.md").read_text()
    assert "a mixture of experts behind hyperplanes (`hyperplanes`), distilled from a teacher without" in card
    epochs = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all(line["confidence"] > 0 for line in epochs if line["event"] == "epoch")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "hyperplanes" in page
    assert "Specialisation, layer 1" in page
    with serve(bundle, tmp_path / "models") as client:
        predictions = classify(client, node_ids=[0, 1, 2], explain=True)
    assert [len(prediction["experts"]) for prediction in predictions] == [4, 4, 4]


@pytest.mark.slow
def test_a_student_of_a_plugin_is_a_method_of_a_comparison(write_plugin, tmp_path):
    write_plugin(page_as_module())
    path = tmp_path / "comparison.toml"
    path.write_text(
        COMPARISON.format(root=write_data_root(tmp_path))
        .replace('"glnn", "rbm"', '"mine"')
        .replace("[0, 1]", "[0]")
        + '\n[experiment]\nplugins = ["my_kinds"]\n'
        + '\n[method.mine]\nlike = "rbm-head"\n[method.mine.student]\nkind = "hyperplanes"\n'
    )
    assert main(["compare", str(path), "--out", str(tmp_path / "out")]) == 0
    (line,) = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert json.loads(line)["method"] == "mine"
    assert "| mine |" in (tmp_path / "out" / "results.md").read_text()


def test_a_kind_of_a_plugin_is_known_to_an_experiment_that_names_it(write_plugin, experiment):
    write_plugin(page_as_module())
    with pytest.raises(ConfigError, match=r"student\.kind: found 'hyperplanes'; wanted"):
        load_config(experiment, [*KINDS, "plugins=[]"])
    config = load_config(experiment, KINDS)
    assert (config.student.kind, config.distill.losses) == ("hyperplanes", {"confidence": 0.1})
    assert load_config(experiment, KINDS) == config


def test_a_near_name_of_a_plugins_kind_is_suggested(write_plugin, experiment):
    write_plugin(page_as_module())
    for wrong, meant in {
        "student.kind=hyperplane": "hyperplanes",
        "teacher.kind=structurefree": "structure-free",
        "positions.kind=degrees": "degree",
        "distill.losses={confidense = 0.1}": "confidence",
    }.items():
        with pytest.raises(ConfigError, match=rf'; did you mean "{meant}"\?'):
            load_config(experiment, [*KINDS, wrong])


def test_another_code_of_a_plugin_is_another_stage(write_plugin, experiment):
    write_plugin(page_as_module())
    config = load_config(experiment, KINDS)
    dataset = load_dataset(config.dataset)
    before = student_key(config, dataset, 0)
    assert student_key(config, dataset, 0) == before
    write_plugin(page_as_module() + "\n# changed")
    for tables in (["positions"], ["teacher"]):
        assert "my_kinds" in cache_key(config, dataset, 0, *tables)["plugins"]
    assert student_key(config, dataset, 0) != before
    assert "plugins" not in cache_key(SMALL_CONFIG, dataset, 0)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, r"plugin 'my_kinds', which cannot be imported \(ModuleNotFoundError: .*wanted a module on"),
        ("1 / 0", r"plugin 'my_kinds', which cannot be imported \(ZeroDivisionError: division by zero\)"),
        (
            "from rbm_training.config.registry import LOSSES\nLOSSES.register('gram', object)",
            r"plugin 'my_kinds': found a second loss called 'gram'; wanted a name that is not taken",
        ),
        (
            "from rbm_training.config.registry import LOSSES\nLOSSES.register('distillation', object)",
            r"plugin 'my_kinds': found a second loss called 'distillation'; wanted a name that is not taken",
        ),
    ],
)
def test_a_plugin_that_cannot_be_used_is_refused_in_one_line(
    write_plugin, experiment, tmp_path, capsys, code, message
):
    if code is not None:
        write_plugin(code)
    assert train(experiment, tmp_path / "run") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line)


@pytest.mark.parametrize("each", REGISTRIES, ids=lambda each: each._what)
def test_every_built_in_kind_is_where_the_registry_says(each):
    assert all(each[name] is not None for name in each)
