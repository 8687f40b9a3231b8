"""Fixtures of the training tests."""

import json
from pathlib import Path

import pytest
import torch

from rbm_training.config import DatasetConfig, ExperimentConfig, load_config
from rbm_training.data.dataset import Dataset
from rbm_training.data.graph import Task
from rbm_training.data.loading import load_dataset
from rbm_training.distillation.training_data import TrainingData, prepare_training_data
from rbm_training.runtime.log import RunLog
from tests.training.objects import SMALL_EXPERIMENT, train


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def small_experiment(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL_EXPERIMENT)
    return path


@pytest.fixture
def small_config(small_experiment: Path) -> ExperimentConfig:
    return load_config(small_experiment)


@pytest.fixture
def dataset(small_config: ExperimentConfig) -> Dataset:
    return load_dataset(small_config.dataset)


@pytest.fixture
def log(tmp_path: Path) -> RunLog:
    return RunLog(tmp_path)


@pytest.fixture
def data(small_config: ExperimentConfig, dataset: Dataset, log: RunLog) -> TrainingData:
    return prepare_training_data(small_config, dataset, seed=0, log=log)


@pytest.fixture
def synthetic_task() -> Task:
    config = DatasetConfig(kind="synthetic", setting="inductive", train_per_class=8, val_per_class=8)
    return load_dataset(config).task(config, seed=0)


@pytest.fixture
def report(small_experiment, tmp_path):
    assert train(small_experiment, tmp_path / "run", "seeds=[0, 1]") == 0
    return json.loads((tmp_path / "run" / "report.json").read_text())
