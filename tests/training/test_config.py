import tomllib
from pathlib import Path

import pytest
import tomli_w

from rbm_training.config import ConfigError, ExperimentConfig, load_config

EXPERIMENTS = sorted((Path(__file__).parents[2] / "training" / "experiments").glob("*.toml"))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[student]\nhidden = 32\nmoe_layers = "all"\n')
    return path


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_shipped_experiment_loads_under_its_own_name(path):
    assert load_config(path).name == path.stem


def test_overrides_are_toml_or_else_strings(file):
    overrides = [
        "seeds=[1, 2]",
        "student.hidden=8",
        "dataset.kind=named",
        "dataset.name=cora",
        "dataset.root=/d",
    ]
    config = load_config(file, overrides)
    assert (config.seeds, config.student.hidden, config.dataset.root) == ((1, 2), 8, Path("/d"))


@pytest.mark.parametrize(
    "overrides",
    [
        ["distill.batch_rows=64"],
        ["scaling.position_norm=none"],
        ["teacher.kind=precomputed", "teacher.logits=predictions.npy"],
        ["teacher.kind=appnp", "teacher.members=3", "teacher.power_iterations=20"],
        ["teacher.kind=gat", "teacher.heads=4"],
    ],
)
def test_the_resolved_experiment_reads_back_as_itself(file, overrides):
    config = load_config(file, overrides)
    text = tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))
    assert ExperimentConfig.model_validate(tomllib.loads(text)) == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("student.hiden=8", r"student\.hiden: found an unknown key"),
        ("student.hidden=-1", r"student\.hidden: found -1; wanted at least 1"),
        ("student.hidden=wide", r"student\.hidden: found 'wide'; wanted a whole number"),
        (
            "student.top_k=9",
            r"found student\.top_k = 9 and no layer of more than 4 experts",
        ),
        ("positions.return_parameter=2", r"found positions\.return_parameter = 2.0 .*'deepwalk'.*'node2vec'"),
        ("positions={kind='laplacian', window=3}", r"found positions\.window = 3 .*'laplacian'"),
        ("positions={kind='node2vec', in_out_parameter=0}", r"in_out_parameter: found 0; wanted at least"),
        ("dataset.kind=files", r"needs dataset\.path"),
        ("dataset.kind=named", r"needs dataset\.name"),
        ("dataset.name=cora", r"found dataset\.name with dataset\.kind = 'digits'.*wanted .*'named'"),
        ("dataset.path=a.npz", r"found dataset\.path with dataset\.kind = 'digits'.*wanted .*'files'"),
        ("teacher.hiden=8", r"teacher\.hiden: found an unknown key"),
        (
            "teacher.kind=rbm",
            r"teacher\.kind: found 'rbm'; wanted 'sage', .*'auto' or 'precomputed'",
        ),
        ("teacher=3", r"teacher: found 3; wanted a table, \[teacher\]"),
        ("teacher.members=0", r"teacher\.members: found 0; wanted at least 1"),
        ("teacher.heads=4", r"found teacher\.heads = 4 with teacher\.kind = 'sage', .* wanted .* = 'gat'"),
        ("teacher.power_iterations=5", r"found teacher\.power_iterations = 5 .* wanted .* = 'appnp'"),
        ("teacher.teleport=0.2", r"found teacher\.teleport = 0\.2 .* wanted .* = 'appnp'"),
        ("teacher.logits=a.npy", r"teacher\.logits: found an unknown key"),
        ("teacher.kind=precomputed", r"teacher\.logits: found none"),
        ("student.num_experts=[4]", r"found 1 numbers .*num_layers = 2; wanted one number a layer"),
        ("student.num_experts=[1, 1]", "top_k = 2 and no layer of more than 1 experts"),
        (
            "student.kind=cnn",
            r"student\.kind: found 'cnn'; wanted 'rbm-head', .*'linear' or 'auto'",
        ),
        (
            "distill.losses={huber = 0.1}",
            r"distill\.losses\.huber: found 'huber'; wanted 'commitment', ",
        ),
        (
            "positions.kind=hilbert",
            r"positions\.kind: found 'hilbert'; wanted 'deepwalk', .*'none'",
        ),
        ("distill.step_after=batch", r"step_after = 'batch' without distill\.batch_rows; wanted both"),
        ("distill.temperature=0", "wanted more than 0"),
        ("distill.temperature=nan", "finite number"),
        ("seeds=[]", "wanted a list of at least 1"),
        ("seeds=[0, 0]", "names a seed twice"),
        ("seeds=[-1]", r"seeds\[0\]: found -1; wanted at least 0"),
        ("export.name=two words", r"export\.name: found 'two words'; wanted up to 100 letters"),
        ("nonsense", "found no KEY=VALUE"),
        ("name.x=1", "is a value, not a table"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(file, override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(file, [override])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["teacher.kind=gcn", "teacher.hiden=8"], r"teacher\.hiden: found an unknown key"),
        (["teacher.kind=appnp", "teacher.heads=4"], r"teacher: .*found teacher\.heads = 4"),
        (["teacher.kind=gat", "teacher.teleport=0.5"], r"teacher: .*found teacher\.teleport = 0\.5"),
        (["teacher.kind=gat", "teacher.hidden=20"], r"hidden = 20 with teacher\.heads = 8; wanted a width"),
        (["teacher.kind=appnp", "teacher.teleport=1"], r"teacher\.teleport: found 1; wanted less than 1"),
    ],
)
def test_a_teacher_takes_what_its_kind_reads_and_refuses_the_rest(file, overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config(file, overrides)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "sage"),
        (["teacher.kind=gat", "teacher.heads=4", "teacher.hidden=20"], "gat"),
        (["teacher.kind=appnp", "teacher.members=3", "teacher.teleport=0.2"], "appnp-x3"),
        (["teacher.kind=precomputed", "teacher.logits=predictions.npy"], "precomputed"),
    ],
)
def test_a_teacher_has_a_name_for_reports(file, overrides, name):
    assert load_config(file, overrides).teacher.name == name


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["student.match_budget=flops", "student.num_layers=1"], "num_layers = 1; wanted a hidden layer"),
        (["student.routing_input=positions", "positions.kind=none"], "wanted positions to route by"),
        (["student.routing_input=positions", "student.moe_layers=last"], "wanted several experts there"),
        (["routing.memory_init=spherical", "student.metric=euclidean"], "wanted 'kmeans' or 'random'"),
        (["routing.memory_init=spherical", "student.center_queries=true"], "before rows are centred"),
        (["student.metric=euclidean", "student.center_queries=true"], "wherever the origin lies"),
        (["distill.gram=0.1", "teacher.num_layers=1"], "no hidden representation is known"),
    ],
)
def test_options_that_contradict_each_other_are_refused(file, overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config(file, overrides)
    for override in overrides:
        load_config(file, [override])


@pytest.mark.parametrize(
    "overrides",
    [
        ["student.routing_input=positions", "positions.kind=none"],
        ["routing.memory_init=spherical", "student.metric=euclidean"],
        ["routing.memory_init=spherical", "student.center_queries=true"],
        ["student.metric=euclidean", "student.center_queries=true"],
    ],
)
def test_what_is_said_of_memories_holds_for_students_that_have_them_alone(file, overrides):
    assert load_config(file, [*overrides, "student.kind=moe"]).student.kind == "moe"
    with pytest.raises(ConfigError):
        load_config(file, [*overrides, "student.kind=auto"])


@pytest.mark.parametrize("kind", ["rbm", "mlp", "moe", "mlp-ensemble", "auto"])
def test_every_kind_of_student_may_be_asked_for_with_the_defaults_of_the_others(file, kind):
    assert load_config(file, [f"student.kind={kind}"]).student.kind == kind


PRECOMPUTED = ["teacher.kind=precomputed", "teacher.logits=predictions.npy"]


def test_a_precomputed_teacher_has_no_fields_of_a_trained_one(file):
    assert load_config(file, PRECOMPUTED).model_dump()["teacher"] == {
        "kind": "precomputed",
        "logits": Path.cwd() / "predictions.npy",
    }
    with pytest.raises(ConfigError, match=r"teacher\.hidden: found an unknown key"):
        load_config(file, [*PRECOMPUTED, "teacher.hidden=8"])


def test_reliable_pairs_of_a_precomputed_teacher_are_refused_and_others_are_not(file):
    with pytest.raises(ConfigError, match=r"found distill\.pairs = 'reliable' .* wanted .*'self' or 'auto'"):
        load_config(file, [*PRECOMPUTED, "distill.pairs=reliable"])
    for pairs in ("auto", "self"):
        assert load_config(file, [*PRECOMPUTED, f"distill.pairs={pairs}"]).distill.pairs == pairs


def test_hidden_representations_of_a_precomputed_teacher_are_not_known(file):
    with pytest.raises(ConfigError, match=r"found distill\.gram with a teacher .* wanted distill\.gram = 0"):
        load_config(file, [*PRECOMPUTED, "distill.gram=0.1"])


def test_a_file_that_is_no_toml_or_not_there_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    with pytest.raises(ConfigError, match="No such file"):
        load_config(path)
    for content in (b"name = ", b"name = '\xff'"):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="no TOML"):
            load_config(path)


@pytest.mark.parametrize(
    ("num_nodes", "num_values", "num_threads", "expected"),
    [(1000, 1_872_000, None, 1), (1000, 1_872_001, None, 3), (15_625, 1, None, 3), (5, 5, 7, 7)],
)
def test_threads_are_chosen_by_size_unless_they_are_set(
    monkeypatch, num_nodes, num_values, num_threads, expected
):
    monkeypatch.setattr("rbm_training.config.experiment.num_cores", lambda: 3)
    config = ExperimentConfig(name="mine", num_threads=num_threads)
    assert config.threads_for(num_nodes, num_values) == expected


def test_memories_that_move_by_step_need_more_than_one_step_an_epoch(file):
    with pytest.raises(
        ConfigError, match=r"found routing\.memory_step = .* wanted distill\.step_after = 'batch'"
    ):
        load_config(file, ["routing.memory_step=optimizer_step"])
