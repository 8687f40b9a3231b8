"""Fixtures of the training tests."""

from pathlib import Path

import pytest
import torch

from rbm_training.config import DatasetConfig, ExperimentConfig, load_config
from rbm_training.datasets import load_dataset
from rbm_training.graph import Task
from tests.training.objects import SMALL_EXPERIMENT, Prepared, prepare


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
def prepared(small_config: ExperimentConfig, tmp_path: Path) -> Prepared:
    task = load_dataset(small_config.dataset).task(small_config.dataset, seed=0)
    return prepare(small_config, task, tmp_path)


@pytest.fixture
def synthetic_task() -> Task:
    config = DatasetConfig(kind="synthetic", setting="inductive", train_per_class=8, val_per_class=8)
    return load_dataset(config).task(config, seed=0)
