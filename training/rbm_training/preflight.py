"""What a run would read and need, or why it could not start; without training, and without torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table
from rich.text import Text

from rbm_training.config import ExperimentConfig, TeacherConfig
from rbm_training.config.candidates import student_candidates
from rbm_training.config.methods import baseline_experiments
from rbm_training.config.registry import AUTO
from rbm_training.config.teacher import CANDIDATES
from rbm_training.data.advice import advice
from rbm_training.data.dataset import Dataset
from rbm_training.data.loading import load_dataset
from rbm_training.distillation.preconditions import check, with_scaling
from rbm_training.evaluation.untrained_classes import in_words


@dataclass(frozen=True, slots=True)
class Settled:
    """An experiment and its graph, ready to be trained.

    `read` is the graph as it was read; in `config` the scaling of features is chosen, and in `dataset` they
    have the form that it takes. `advice` is what the data calls for, a line each.
    """

    read: Dataset
    config: ExperimentConfig
    dataset: Dataset
    advice: list[str]


def load_checked(config: ExperimentConfig) -> Settled:
    """Read the graph of an experiment and refuse what would fail after hours of training.

    Raises:
        GraphError: the dataset is malformed, or does not fit the experiment.
        ConfigError: a baseline that cannot be.
    """
    read = load_dataset(config.dataset, config.features)
    check(config, read)
    baseline_experiments(config)
    return settle(config, read)


def settle(config: ExperimentConfig, read: Dataset) -> Settled:
    """Choose what an experiment leaves to its graph.

    Raises:
        GraphError: features that do not fit into memory as the experiment scales them.
    """
    settled, dataset = with_scaling(config, read)
    return Settled(read, settled, dataset, advice(settled, read))


def advice_table(told: Sequence[str]) -> Table:
    """What the data calls for."""
    table = Table(title="advice", show_header=False, show_lines=True)
    for line in told:
        table.add_row(Text(line))
    return table


def dataset_table(config: ExperimentConfig, dataset: Dataset) -> Table:
    """The account of a graph, and the names of its classes in their order."""
    table = Table(title=Text(f"{dataset.graph.name}, {config.dataset.setting}"), show_header=False)
    for title, told in dataset.statistics.lines():
        table.add_row(title, Text(told))
    for name, kind in dataset.kinds_of_columns(dataset.task(config.dataset, config.seeds[0])).items():
        table.add_row(f"column {name}", Text(kind))
    table.add_row("names of the classes", Text(", ".join(dataset.graph.class_names)))
    return table


def split_table(config: ExperimentConfig, dataset: Dataset, seeds: Sequence[int]) -> Table:
    """How many nodes do what, for each seed, and which classes cannot be learnt."""
    names = {"training": "train", "validation": "val", "observed test": "test", "unseen": "unseen"}
    names["held-out validation"] = "pseudo_unseen"
    table = Table("seed", title=Text(f"split: {dataset.split_in_words(config.dataset)}"))
    for name in names:
        table.add_column(name, justify="right")
    notes = []
    for seed in seeds:
        task = dataset.task(config.dataset, seed)
        table.add_row(str(seed), *(f"{len(getattr(task, field)):,}" for field in names.values()))
        if task.untrained_classes:
            notes.append(f"seed {seed}: {in_words(task.untrained_classes)}")
    table.caption = Text("\n".join(notes)) if notes else None
    return table


def needs_table(config: ExperimentConfig, dataset: Dataset) -> Table:
    """What a run would train, on how many threads, and how large its arrays are."""
    graph, teacher = dataset.graph, config.teacher
    trained = 0
    if isinstance(teacher, TeacherConfig):
        trained = len(config.seeds) * (len(CANDIDATES) if teacher.kind == AUTO else teacher.members)
    kinds = [student.kind for student in student_candidates(config)]
    students = len(config.seeds) * len(kinds)
    trainings = f"{trained:,} of a teacher, {students:,} of a student"
    trainings += "".join(f", {name} beside it" for name in config.report.baselines if name not in kinds)
    trainings += "; the chosen once more, on all labels" if config.export.refit else ""
    values = 4 if isinstance(graph.features, np.ndarray) else 8  # bytes, of sparse ones with their columns
    sizes = {
        "features": values * graph.num_values,
        "edges": 16 * graph.adjacency.nnz,
        "positions": 4 * graph.num_nodes * (config.positions.width if config.positions.kind != "none" else 0),
        "a hidden layer of the student": 4 * graph.num_nodes * config.student.hidden,
    }
    table = Table(title="what a run needs", show_header=False)
    table.add_row("trainings", trainings)
    table.add_row("threads", f"{config.threads_for(graph.num_nodes, graph.num_values)}")
    table.add_row("arrays", ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in sizes.items()))
    return table
