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
        ({"teacher": {"hiden": 8}}, 'teacher.trained.hiden: found an unknown key; did you mean "hidden"?'),
        (
            {"teacher": {"kind": "precomputed", "logits": "a.npy", "logit": "b.npy"}},
            'teacher.precomputed.logit: found an unknown key; did you mean "logits"?',
        ),
        ({"report": {"baseline": []}}, 'report.baseline: found an unknown key; did you mean "baselines"?'),
        ({"export": {"zzz": 1}}, "export.zzz: found an unknown key; wanted one of name, cache_features"),
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
    wanted = "teacher.precomputed.dropout: found an unknown key; wanted one of kind, logits"
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
        ({"dataset": {"kind": "name"}}, """(found 'name'); did you mean "named"?"""),
        ({"student": {"kind": "moee"}}, """(found 'moee'); did you mean "moe"?"""),
        ({"student": {"kind": "cnn"}}, "(found 'cnn')"),
        ({"teacher": {"kind": "sgae"}}, """or 'precomputed' (found 'sgae'); did you mean "sage"?"""),
        ({"teacher": {"kind": "mlp"}}, "(found 'mlp')"),
        ({"report": {"baselines": ["moe", "mlp-flop"]}}, """(found 'mlp-flop'); did you mean "mlp-flops"?"""),
        ({"student": {"kind": 3}}, "(found 3)"),
    ],
)
def test_a_wrong_choice_is_refused_with_the_nearest_one(document, end):
    assert refusal(ExperimentConfig, {"name": "mine", **document}).endswith(end)


def test_all_keys_of_an_experiment_are_known_by_their_dotted_names():
    keys = known_keys(ExperimentConfig)
    for key in ("seeds", "teacher", "teacher.heads", "teacher.logits", "report.baselines"):
        assert keys.count(key) == 1
