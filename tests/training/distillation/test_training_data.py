import numpy as np
import pytest
import torch

from rbm_training.config import ExperimentConfig
from rbm_training.data.loading import load_dataset
from rbm_training.distillation.train import train_student
from rbm_training.distillation.training_data import prepare_training_data
from rbm_training.runtime.artifacts import ArtifactStore
from rbm_training.runtime.checkpoint import Checkpoint
from tests.training.objects import SMALL_CONFIG


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def entries(folder):
    """The files of a cache, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def changed(**parts) -> ExperimentConfig:
    """The small experiment with other values, checked like one that was read."""
    document = SMALL_CONFIG.model_dump()
    for name, value in parts.items():
        document[name] = {**document[name], **value} if isinstance(value, dict) else value
    return ExperimentConfig.model_validate(document)


def test_the_student_is_the_same_to_the_bit_whether_its_stages_were_cached_or_not(dataset, log, folder):
    students, positions = [], []
    for cache in (None, ArtifactStore(folder), ArtifactStore(folder)):
        data = prepare_training_data(SMALL_CONFIG, dataset, 0, log, cache)
        positions.append(data.positions)
        students.append(train_student(SMALL_CONFIG, data, 0, log, Checkpoint(None, log)).student.state_dict())
    assert len(entries(folder)) == 3  # baseline, encodings and teacher
    for other, there in zip(students[1:], positions[1:], strict=True):
        np.testing.assert_array_equal(there, positions[0])
        for name, value in students[0].items():
            assert torch.equal(value, other[name]), name


def test_stages_that_are_there_are_not_made_again_for_another_student(dataset, log, folder):
    cache = ArtifactStore(folder)
    prepare_training_data(SMALL_CONFIG, dataset, 0, log, cache)
    before = entries(folder)
    prepare_training_data(changed(student={"hidden": 8}, distill={"pairs": "self"}), dataset, 0, log, cache)
    assert entries(folder) == before


@pytest.mark.parametrize(
    ("change", "made_anew"),
    [
        ({"teacher": {"hidden": 8}}, ["teacher"]),
        ({"scaling": {"features": "none"}}, ["baseline", "teacher"]),
        ({"scaling": {"position_norm": 1.0}}, []),
        ({"compat": "released"}, ["teacher"]),
        ({"positions": {"width": 4}}, ["encodings"]),
        ({"dataset": {"unseen_fraction": 0.3}}, ["baseline", "encodings", "teacher"]),
        ({"dataset": {"pseudo_unseen_fraction": 0.2}}, ["baseline", "encodings", "teacher"]),
        ({"dataset": {"setting": "transductive"}}, ["baseline", "encodings", "teacher"]),
        ({"num_threads": 2}, ["baseline", "encodings", "teacher"]),
    ],
    ids=str,
)
def test_a_stage_is_made_anew_when_what_it_is_made_of_is_another(dataset, log, folder, change, made_anew):
    cache = ArtifactStore(folder)
    prepare_training_data(SMALL_CONFIG, dataset, 0, log, cache)
    before = entries(folder)
    config = changed(**change)
    prepare_training_data(config, load_dataset(config.dataset), 0, log, cache)
    new = entries(folder).keys() - before.keys()
    assert sorted(name.partition("-")[0] for name in new) == made_anew


def test_another_seed_is_another_entry(dataset, log, folder):
    cache = ArtifactStore(folder)
    first, second = (prepare_training_data(SMALL_CONFIG, dataset, seed, log, cache) for seed in (0, 1))
    assert len(entries(folder)) == 6
    assert not np.array_equal(first.positions, second.positions)


def test_a_transductive_task_holds_nobody_out(log):
    config = changed(dataset={"setting": "transductive"})
    data = prepare_training_data(config, load_dataset(config.dataset), 0, log)
    assert (len(data.inputs.unseen), len(data.inputs.pseudo_unseen)) == (0, 0)
    assert data.task.observed is data.task.graph


def test_nodes_held_out_stand_where_the_service_will_place_them(data):
    """Pseudo-unseen ones among the observed, unseen ones among both: the service knows both."""
    task, inputs = data.task, data.inputs
    known = data.known_positions
    np.testing.assert_array_equal(known[: task.observed.num_nodes], data.positions)
    np.testing.assert_array_equal(known[task.observed.num_nodes :], inputs.pseudo_unseen.positions.cpu())
    for nodes, held_out, sources in (
        (task.pseudo_unseen, inputs.pseudo_unseen, task.observed_nodes),
        (task.unseen, inputs.unseen, task.known_nodes),
    ):
        for node, position in zip(nodes, held_out.positions.cpu().numpy(), strict=True):
            rows = np.flatnonzero(np.isin(sources, task.graph.neighbors_of(node)))
            wanted = known[rows].mean(axis=0) if len(rows) else np.zeros_like(position)
            np.testing.assert_allclose(position, wanted, atol=1e-6)
    assert any(np.isin(task.graph.neighbors_of(node), task.pseudo_unseen).any() for node in task.unseen)
