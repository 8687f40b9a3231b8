"""What a training needs of an experiment and its graph, found out before anything is trained."""

import os
from dataclasses import replace
from typing import Final

import numpy as np

from rbm_training.config import ExperimentConfig, PrecomputedTeacherConfig
from rbm_training.config.registry import AUTO
from rbm_training.data.class_weights import weighted
from rbm_training.data.dataset import Dataset
from rbm_training.data.graph import Graph, GraphError

NUM_COPIES: Final = 4  # of dense features that a training holds: as read, scaled, dropped out, and of a batch


def check(config: ExperimentConfig, dataset: Dataset) -> None:
    """Refuse what would fail after hours of training.

    Raises:
        GraphError: a seed whose split cannot be drawn, a weight for no class, a malformed saved teacher.
    """
    for seed in config.seeds:
        weighted(dataset.task(config.dataset, seed), config.dataset.class_weights)
    if isinstance(config.teacher, PrecomputedTeacherConfig):
        from rbm_training.teachers.precomputed import (
            read_logits,  # beside teachers that are trained, by torch
        )

        read_logits(config.teacher.logits, dataset)


def with_scaling(config: ExperimentConfig, dataset: Dataset) -> tuple[ExperimentConfig, Dataset]:
    """The experiment with the scaling that `auto` comes down to, and the graph with features in the form that
    their scaling takes: sparse ones that are to be standardised become dense.

    Raises:
        GraphError: the dense features would not fit into memory.
    """
    scaling = config.scaling
    if scaling.features == AUTO:
        is_dense = isinstance(dataset.graph.features, np.ndarray)
        chosen = "standardised" if is_dense and len(dataset.drowning_columns) else "l2"
        scaling = scaling.model_copy(update={"features": chosen})
    graph = dataset.graph
    if scaling.features == "standardised" and not isinstance(graph.features, np.ndarray):
        _check_memory(graph)
        dataset = replace(dataset, graph=replace(graph, features=graph.dense_features()))
    return config.model_copy(update={"scaling": scaling}), dataset


def _check_memory(graph: Graph) -> None:
    needed, there = NUM_COPIES * 4 * graph.num_nodes * graph.num_features, memory()
    if needed > there:
        share = graph.num_values / (graph.num_nodes * graph.num_features)
        raise GraphError(
            graph.name,
            f"scaling.features = 'standardised' for {graph.num_features:,} features of"
            f" {graph.num_nodes:,} nodes, {share:.2%} of them non-zero: standardised all are, and training"
            f" takes {needed / 1e9:,.1f} GB",
            f"at most the {there / 1e9:,.1f} GB of memory there are, or 'l2' or 'none', which keep zeros",
        )


def memory() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
