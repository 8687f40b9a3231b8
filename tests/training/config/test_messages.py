"""What is suggested in the place of a key or a name that is not known."""

import pytest

from rbm_training.benchmark.plan import ComparisonConfig
from rbm_training.config import ConfigError, ExperimentConfig
from rbm_training.config.loading import validated
from rbm_training.config.messages import known_keys
from rbm_training.tuning.space import TuningConfig

DIMENSION = {"choices": [1, 2]}
SEARCH = {"experiment": "small.toml", "space": {"student.hidden": DIMENSION}}


def refusal(kind, document):
    with pytest.raises(ConfigError) as refused:
        validated(kind, document, "mine.toml")
    return str(refused.value).removeprefix("mine.toml: ")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"distill": {"temprature": 2}},
            'distill.temprature: found an unknown key; did you mean "temperature"?',
        ),
        ({"distil": {"temperature": 2}}, 'distil: found an unknown key; did you mean "distill"?'),
        ({"seed": [1]}, 'seed: found an unknown key; did you mean "seeds"?'),
        ({"teacher": {"hiden": 8}}, 'teacher.hiden: found an unknown key; did you mean "hidden"?'),
        (
            {"teacher": {"kind": "precomputed", "logits": "a.npy", "logit": "b.npy"}},
            'teacher.logit: found an unknown key; did you mean "logits"?',
        ),
        ({"report": {"baseline": []}}, 'report.baseline: found an unknown key; did you mean "baselines"?'),
        (
            {"export": {"zzz": 1}},
            "export.zzz: found an unknown key; wanted one of name, refit, cache_features",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one_beside_it(document, message):
    assert refusal(ExperimentConfig, {"name": "mine", **document}) == message


@pytest.mark.parametrize(
    ("document", "meant"),
    [
        ({"distill": {"dropout": 0.1}}, '"teacher.dropout" or "student.dropout"'),
        ({"gram": 2}, '"distill.gram"'),
        ({"student": {"num_threads": 2}}, '"num_threads"'),
        ({"distill": {"epochs": 9}}, '"max_epochs" or "positions.epochs"'),
    ],
)
def test_a_key_of_another_section_is_told_to_belong_there(document, meant):
    assert refusal(ExperimentConfig, {"name": "mine", **document}).endswith(f"; did you mean {meant}?")


def test_a_key_that_another_kind_of_the_section_reads_is_sought_nowhere_else():
    document = {"name": "mine", "teacher": {"kind": "precomputed", "logits": "a.npy", "dropout": 0.1}}
    wanted = "teacher.dropout: found an unknown key; wanted one of kind, logits"
    assert refusal(ExperimentConfig, document) == wanted


@pytest.mark.parametrize(
    ("kind", "document", "message"),
    [
        (TuningConfig, SEARCH | {"trials": 3}, 'trials: found an unknown key; did you mean "num_trials"?'),
        (
            TuningConfig,
            SEARCH | {"space": {"student.hidden": DIMENSION | {"lo": 1}}},
            'space.student.hidden.lo: found an unknown key; did you mean "low"?',
        ),
        (
            TuningConfig,
            SEARCH | {"space": {"student.hidden": DIMENSION | {"num_trials": 1}}},
            'space.student.hidden.num_trials: found an unknown key; did you mean "num_trials"?',
        ),
        (
            TuningConfig,
            SEARCH | {"per_layer": True},
            "per_layer: found an unknown key; wanted one of experiment,",
        ),
        (ComparisonConfig, {"dataset": ["cora"]}, 'dataset: found an unknown key; did you mean "datasets"?'),
    ],
)
def test_searches_and_comparisons_name_their_own_keys(kind, document, message):
    assert message in refusal(kind, document)


@pytest.mark.parametrize(
    ("document", "end"),
    [
        ({"dataset": {"kind": "name"}}, """'synthetic'; did you mean "named"?"""),
        ({"student": {"kind": "moee"}}, """'auto'; did you mean "moe"?"""),
        ({"student": {"kind": "cnn"}}, "or 'auto'"),
        ({"teacher": {"kind": "sgae"}}, """or 'precomputed'; did you mean "sage"?"""),
        ({"teacher": {"kind": "rbm"}}, "or 'precomputed'"),
        ({"report": {"baselines": ["moe", "mlp-flop"]}}, """or 'rbm'; did you mean "mlp-flops"?"""),
        ({"student": {"kind": 3}}, "student.kind: found 3; wanted a string"),
    ],
)
def test_a_wrong_choice_is_refused_with_the_nearest_one(document, end):
    assert refusal(ExperimentConfig, {"name": "mine", **document}).endswith(end)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"seeds": 3}, "seeds: found 3; wanted a list, as in seeds = [3]"),
        ({"seeds": []}, "seeds: found []; wanted a list of at least 1"),
        ({"seeds": [0, "a"]}, "seeds[1]: found 'a'; wanted a whole number"),
        ({"seeds": {"first": 1}}, "seeds: found a table; wanted a list"),
        ({"plugins": "mine"}, "plugins: found 'mine'; wanted a list, as in plugins = [\"mine\"]"),
        ({"dataset": "cora"}, "dataset: found 'cora'; wanted a table, [dataset]"),
        ({"teacher": "gat"}, "teacher: found 'gat'; wanted a table, [teacher]"),
        ({"dataset": [{}]}, "dataset: found a list of tables; wanted a table, [dataset] in single brackets"),
        ({"distill": {"losses": 3}}, "distill.losses: found 3; wanted a table, [distill.losses]"),
        ({"distill": {"temperature": {"a": 1}}}, "distill.temperature: found a table; wanted a number"),
        ({"distill": {"temperature": "hot"}}, "distill.temperature: found 'hot'; wanted a number"),
        ({"distill": {"batch_rows": 0}}, "distill.batch_rows: found 0; wanted at least 1"),
        (
            {"student": {"num_experts": "four"}},
            "student.num_experts: found 'four'; wanted a whole number or a list",
        ),
        ({"student": {"num_experts": [4, "a"]}}, "student.num_experts[1]: found 'a'; wanted a whole number"),
        (
            {"student": {"input_dropout": "maybe"}},
            "student.input_dropout: found 'maybe'; wanted true or false",
        ),
        ({"scaling": {"position_norm": -1}}, "scaling.position_norm: found -1; wanted more than 0 or 'none'"),
        ({"compat": True}, "compat: found true; wanted 'released'"),
        ({"teacher": {"kind": "precomputed"}}, "teacher.logits: found none; wanted a value for it"),
        (
            {"dataset": {"kind": "files"}},
            "dataset: dataset.kind 'files' needs dataset.path, the file or folder of your graph",
        ),
        (
            {"name": ""},
            "name: found ''; wanted up to 100 letters, digits, dots, dashes and underscores, the first a"
            " letter or digit",
        ),
    ],
)
def test_a_value_of_the_wrong_form_is_refused_in_plain_words(document, message):
    assert refusal(ExperimentConfig, {"name": "mine", **document}) == message


@pytest.mark.parametrize(
    ("document", "meant"),
    [
        ({"setings": "inductive"}, '"dataset.setting"'),
        ({"hiden": 3}, '"teacher.hidden" or "student.hidden"'),
        ({"path": "mine.npz"}, '"dataset.path"'),
        ({"dataset": {"sed": 3}}, '"seeds"'),
        ({"student": {"routing": {"load_balance": 1}}}, '"routing"'),
    ],
)
def test_a_misspelt_key_of_another_section_is_found_there(document, meant):
    assert refusal(ExperimentConfig, {"name": "mine", **document}).endswith(f"; did you mean {meant}?")


def test_all_keys_of_an_experiment_are_known_by_their_dotted_names():
    keys = known_keys(ExperimentConfig)
    for key in ("seeds", "teacher", "teacher.heads", "teacher.logits", "report.baselines"):
        assert keys.count(key) == 1
