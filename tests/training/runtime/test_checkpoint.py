"""A training that was cut off goes on from its checkpoint as if nobody had disturbed it."""

import json
import os
import pickle
import threading

import pytest
import torch

from rbm_bundle.folders import sync_folder
from rbm_training.config import ExperimentConfig
from rbm_training.config.base import merged
from rbm_training.data.scaling import InputScaling
from rbm_training.distillation.train import train_student
from rbm_training.runtime import checkpoint as module
from rbm_training.runtime.checkpoint import Checkpoint
from rbm_training.runtime.log import LOG_FILE, RunLog
from rbm_training.teachers import TeacherInputs, train_teacher
from tests.training.objects import SMALL_CONFIG


@pytest.fixture(autouse=True)
def _always_due(monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_SAVES", 0.0)


class CutOffError(Exception):
    pass


class CutOffAfter(Checkpoint):
    """Keeps its trainings some times, and ends the process, as it were, the next time."""

    def __init__(self, file, log, num_saves):
        super().__init__(file, log)
        self._left = num_saves

    def save_if_due(self):
        if not self._left:
            raise CutOffError
        self._left -= 1
        super().save_if_due()


def cut_off_after(num_saves, training, file, log):
    """What a training gives that is cut off after so many epochs and taken up by another process."""
    with pytest.raises(CutOffError):
        training(CutOffAfter(file, log, num_saves))
    torch.manual_seed(999)
    return training(Checkpoint(file, log))


def events_of(folder, name):
    events = [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]
    return [event for event in events if event["event"] == name]


def steps_taken_up(folder):
    """Steps of an earlier process, of each stage that has any."""
    return [event["done"] for event in events_of(folder, "stage_started") if event["done"]]


def config_with(**changes):
    return ExperimentConfig.model_validate(merged(SMALL_CONFIG.model_dump(), changes))


CONFIGS = {
    "rbm": config_with(distill={"pairs": "self", "gram": 0.1, "adversarial": 0.1}),
    "reliable pairs": config_with(distill={"pairs": "reliable"}),
    "mlp": config_with(student={"kind": "mlp"}),
    "moe": config_with(student={"kind": "moe"}, routing={"load_balance": 0.1}),
    "ensemble": config_with(student={"kind": "mlp-ensemble"}, distill={"max_epochs": 10}),
    "released": config_with(compat="released", distill={"pairs": "reliable"}),
    "batches": config_with(distill={"batch_rows": 32, "step_after": "batch"}),
    "shared routing": config_with(
        student={
            **{"kind": "rbm", "moe_layers": "all", "shared_routing": True},
            **{"center_queries": True, "expert_dropout": True},
        },
        distill={"position_dropout": 0.3, "decoupled_weight_decay": True},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("num_saves", [3, 14])  # in the warm-up, and after it or in another member
@pytest.mark.parametrize("name", CONFIGS)
def test_a_student_goes_on_bit_for_bit(name, num_saves, data, log, tmp_path):
    def training(checkpoint):
        return train_student(CONFIGS[name], data, 0, log, checkpoint)

    whole = training(Checkpoint(None, log))
    resumed = cut_off_after(num_saves, training, tmp_path / "student", log)
    assert resumed.history == whole.history
    assert resumed.validation == whole.validation
    for key, value in whole.student.state_dict().items():
        assert torch.equal(value, resumed.student.state_dict()[key]), key


@pytest.mark.slow
@pytest.mark.parametrize("num_saves", [3, 35])
@pytest.mark.parametrize("kind", ["sage", "gcn", "gat", "appnp"])
def test_a_teacher_goes_on_bit_for_bit(kind, num_saves, synthetic_task, log, tmp_path):
    config = SMALL_CONFIG.teacher.model_copy(update={"kind": kind, "members": 2, "max_epochs": 20})
    scaling = InputScaling(synthetic_task.graph.num_features, "l2", None)

    def training(checkpoint):
        return train_teacher(TeacherInputs(synthetic_task, scaling), config, 0, log, checkpoint)

    whole = training(Checkpoint(None, log))
    resumed = cut_off_after(num_saves, training, tmp_path / "teacher", log)
    for name, array in whole.as_artifact().arrays.items():
        assert array.tobytes() == resumed.as_artifact().arrays[name].tobytes(), name


@pytest.fixture
def _hardly_ever_due(monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_SAVES", 3600.0)


@pytest.mark.usefixtures("_hardly_ever_due")
def test_a_student_of_an_ensemble_that_is_finished_is_kept_at_once(data, tmp_path):
    def training(checkpoint):
        return train_student(CONFIGS["ensemble"], data, 0, log, checkpoint)

    with RunLog(tmp_path) as log:
        whole, resumed = training(Checkpoint(None, log)), cut_off_after(14, training, tmp_path / "file", log)
    assert resumed.history == whole.history
    assert steps_taken_up(tmp_path) == [10]


@pytest.mark.usefixtures("_hardly_ever_due")
def test_a_member_of_a_teacher_that_is_finished_is_kept_at_once(synthetic_task, tmp_path):
    config = SMALL_CONFIG.teacher.model_copy(update={"members": 2, "max_epochs": 10})
    inputs = TeacherInputs(synthetic_task, InputScaling(synthetic_task.graph.num_features, "l2", None))

    def training(checkpoint):
        return train_teacher(inputs, config, 0, log, checkpoint)

    with RunLog(tmp_path) as log:
        whole, resumed = training(Checkpoint(None, log)), cut_off_after(14, training, tmp_path / "file", log)
    assert torch.equal(whole.logits, resumed.logits)
    assert steps_taken_up(tmp_path) == [10]


def test_what_is_done_is_not_done_again_and_the_log_says_how_much(data, tmp_path):
    config = config_with(distill={"max_epochs": 20})

    def training(checkpoint):
        return train_student(config, data, 0, log, checkpoint)

    with RunLog(tmp_path) as log:
        cut_off_after(7, training, tmp_path / "student", log)
    assert steps_taken_up(tmp_path) == [7]
    assert len(events_of(tmp_path, "epoch")) == 25 + 1  # the epoch whose save was cut off is done twice


def test_what_a_stage_is_given_is_not_written(tmp_path, log):
    given = torch.zeros(100_000)
    checkpoint = Checkpoint(tmp_path / "stage", log)
    checkpoint.resume(data=given)
    checkpoint.training("training", lambda: {"data": given, "epoch": 3})
    checkpoint.save_if_due()
    assert (tmp_path / "stage").stat().st_size < 20_000
    later = Checkpoint(tmp_path / "stage", log)
    later.resume(data=given)
    found = later.training("training", lambda: None)
    assert found["epoch"] == 3
    assert found["data"] is given


def test_the_random_numbers_go_on(tmp_path, log):
    checkpoint = Checkpoint(tmp_path / "stage", log)
    checkpoint.training("training", lambda: torch.manual_seed(5) and None)
    torch.rand(3)
    checkpoint.save_if_due()
    expected = torch.rand(3)
    torch.manual_seed(0)
    later = Checkpoint(tmp_path / "stage", log)
    later.resume()
    later.training("training", lambda: None)
    assert torch.equal(torch.rand(3), expected)


def test_what_cannot_be_kept_stops_no_training(tmp_path):
    with RunLog(tmp_path) as log:
        checkpoint = Checkpoint(tmp_path / "stage", log)
        checkpoint.training("training", threading.Lock)
        checkpoint.save_if_due()
    assert not (tmp_path / "stage").exists()
    [event] = events_of(tmp_path, "checkpoint_failed")
    assert "lock" in event["reason"]


class Harmful:
    def __init__(self, called):
        self.called = called

    def __reduce__(self):
        return self.called, ("/harm",)


class Ours:  # of a module that trainings have no classes of
    pass


UNREADABLE = {
    "empty": b"",
    "no pickle": b"no pickle",
    "no trainings": pickle.dumps([]),
    "a function": pickle.dumps(Harmful(os.system)),
    "a function of the package": pickle.dumps(Harmful(sync_folder)),
    "what a module of the package imported": b"crbm_training.runtime.checkpoint\nPath\n(S'/harm'\ntR.",
    "another class": pickle.dumps(({"training": Ours()}, {})),
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_cannot_be_read_begins_the_stage_anew(content, tmp_path):
    (tmp_path / "stage").write_bytes(content)
    with RunLog(tmp_path) as log:
        checkpoint = Checkpoint(tmp_path / "stage", log)
        checkpoint.resume()
        assert checkpoint.training("training", lambda: "begun") == "begun"
    assert len(events_of(tmp_path, "checkpoint_unreadable")) == 1


def test_classes_of_a_plugin_are_loaded(tmp_path, log):
    checkpoint = Checkpoint(tmp_path / "stage", log)
    checkpoint.training("training", Ours)
    checkpoint.save_if_due()
    for plugins, expected in (((), str), ((Ours.__module__,), Ours)):
        later = Checkpoint(tmp_path / "stage", log, plugins)
        later.resume()
        assert type(later.training("training", str)) is expected


def test_no_more_than_one_save_a_minute(tmp_path, log, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_SAVES", 60.0)
    checkpoint = Checkpoint(tmp_path / "stage", log)
    checkpoint.save_if_due()
    assert not (tmp_path / "stage").exists()
    now = module.time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + 61)
    checkpoint.save_if_due()
    assert (tmp_path / "stage").exists()
