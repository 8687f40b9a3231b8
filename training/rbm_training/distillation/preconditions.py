"""What a training needs of an experiment and its graph, found out before anything is trained."""

import numpy as np

from rbm_training.config import ExperimentConfig, PrecomputedTeacherConfig
from rbm_training.data.class_weights import weighted
from rbm_training.data.dataset import Dataset
from rbm_training.data.graph import Graph, GraphError


def check(config: ExperimentConfig, dataset: Dataset) -> None:
    """Refuse what would fail after hours of training.

    Raises:
        GraphError: a scaling that does not fit, a seed whose split cannot be drawn, a weight for no class, a
            malformed saved teacher.
    """
    check_scaling(config, dataset.graph)
    for seed in config.seeds:
        weighted(dataset.task(config.dataset, seed), config.dataset.class_weights)
    if isinstance(config.teacher, PrecomputedTeacherConfig):
        from rbm_training.teachers.precomputed import (
            read_logits,  # beside teachers that are trained, by torch
        )

        read_logits(config.teacher.logits, dataset)


def check_scaling(config: ExperimentConfig, graph: Graph) -> None:
    """Refuse a scaling that would fill the zeros of sparse features.

    Raises:
        GraphError: sparse features that would be standardised.
    """
    if config.scaling.features == "standardised" and not isinstance(graph.features, np.ndarray):
        share = graph.features.nnz / (graph.num_nodes * graph.num_features)
        raise GraphError(
            graph.name,
            f"scaling.features = 'standardised' for features of which {share:.1%} are non-zero",
            "'l2' or 'none': a standardised zero is none",
        )
