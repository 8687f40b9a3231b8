"""What an experiment should do about its data: each advice is one line, a finding and then what to do."""

import math
from typing import Final

import numpy as np

from rbm_training.config import ExperimentConfig
from rbm_training.config.registry import AUTO
from rbm_training.data.dataset import Dataset
from rbm_training.data.graph import Integers
from rbm_training.data.leaks import columns_of_the_label

LITTLE_HOMOPHILY: Final = 0.2  # above chance, 1 being neighbours of one class only
HUB_EDGES: Final = 100
HUB_SHARE: Final = 0.05  # of all edges
MOST_LABELS: Final = 0.8
MOST_NAMED: Final = 3
FEW_TEST_NODES: Final = 100
WIDEST_95: Final = 0.98  # times 1/√n: half a 95 % interval of a share of n nodes, at its widest
COMPARED: Final = "among the teachers compared are"
NOT_COMPARED: Final = 'teacher.kind = "auto" would compare with'


def advice(config: ExperimentConfig, dataset: Dataset) -> list[str]:
    """All that the data calls for.

    Args:
        config: with the scaling that it comes down to.
        dataset: as it was read.
    """
    found = (
        _of_scales(config, dataset),
        _of_zeros(config, dataset),
        _of_homophily(config, dataset),
        _of_hubs(dataset),
        _of_no_edges(dataset),
        _of_classes(config, dataset),
        _of_a_rare_class(config, dataset),
        _of_test_nodes(config, dataset),
        _of_leaks(dataset),
    )
    return [told for told in found if told is not None]


def _of_scales(config: ExperimentConfig, dataset: Dataset) -> str | None:
    columns = dataset.drowning_columns
    if not len(columns):
        return None
    finding = f"{_named(columns, dataset)}: so large that rows of norm 1 hold little of the others"
    if config.scaling.features == "standardised":
        return f"{finding}; columns are standardised, so that all count"
    return f'{finding}; set scaling.features = "standardised", or take a larger unit or logarithms'


def _named(columns: Integers, dataset: Dataset) -> str:
    """Some features by their names, or else their numbers; those of raw columns by the columns' names."""
    names = dataset.names_of_sources
    told = list(dict.fromkeys(names[column] if names else str(column) for column in columns))
    more = f" and {len(told) - MOST_NAMED} more" if len(told) > MOST_NAMED else ""
    return f"feature {', '.join(told[:MOST_NAMED])}{more}"


def _of_zeros(config: ExperimentConfig, dataset: Dataset) -> str | None:
    graph = dataset.graph
    if config.scaling.features != "standardised" or isinstance(graph.features, np.ndarray):
        return None
    num_all = graph.num_nodes * graph.num_features
    return (
        f"{graph.num_values / num_all:.1%} of the feature values are not zero, but standardised all are, and"
        f" take {4e-6 * num_all:,.1f} MB in place of {8e-6 * graph.num_values:,.1f}; if that is too much or"
        ' too slow, scaling.features = "l2" keeps zeros zero'
    )


def _of_homophily(config: ExperimentConfig, dataset: Dataset) -> str | None:
    share, chance = dataset.statistics.edge_homophily, dataset.statistics.chance_homophily
    if share is None or chance is None or share - chance >= LITTLE_HOMOPHILY * (1 - chance):
        return None
    return (
        f"edge homophily is {share:.2f}, and by chance {chance:.2f}: the graph may help little;"
        f" {COMPARED if config.teacher.kind == AUTO else NOT_COMPARED} some that see no graph, and the"
        " report's first sentence says whether the graph helps"
    )


def _of_hubs(dataset: Dataset) -> str | None:
    counts, graph = dataset.statistics, dataset.graph
    if counts.largest_degree < max(HUB_EDGES, HUB_SHARE * counts.num_edges):
        return None
    hub = graph.node_ids[np.diff(graph.adjacency.indptr).argmax()].item()
    return (
        f"node {hub!r} has {counts.largest_degree:,} of the {counts.num_edges:,} edges, and all its"
        " neighbours are two steps apart; leave it out if an edge to it says nothing of a node, as one to"
        " 'unknown'"
    )


def _of_no_edges(dataset: Dataset) -> str | None:
    if dataset.statistics.num_edges:
        return None
    return "there is no edge: nothing is learnt but from features; look whether the table of edges is empty"


def _of_classes(config: ExperimentConfig, dataset: Dataset) -> str | None:
    sizes = dataset.statistics.class_sizes
    name = max(sizes, key=lambda each: sizes[each])
    share = sizes[name] / sum(sizes.values())
    if share < MOST_LABELS:
        return None
    told = (
        f"{share:.1%} of the labels are {name!r}, and a constant answer is as accurate; compare macro F1, and"
        " AUPRC of the rare classes"
    )
    if config.dataset.class_weights != "none":
        return told
    return f'{told}; if these matter more, set dataset.class_weights = "balanced"'


def _of_a_rare_class(config: ExperimentConfig, dataset: Dataset) -> str | None:
    least = config.dataset.min_class_labels
    if least is None or dataset.merged is not None:
        return None
    rare = [name for name, size in dataset.statistics.class_sizes.items() if size < least]
    if not rare:
        return None
    return (
        f"class {rare[0]!r} alone has fewer labels than dataset.min_class_labels = {least}: with no other to"
        " be merged with, it stays as it is"
    )


def _of_test_nodes(config: ExperimentConfig, dataset: Dataset) -> str | None:
    split = dataset.split(config.dataset, config.seeds[0])
    num_nodes = len(split.unseen) or len(split.test)
    if num_nodes >= FEW_TEST_NODES:
        return None
    return (
        f"{num_nodes} test nodes are few: what is measured on them may be up to"
        f" {100 * WIDEST_95 / math.sqrt(num_nodes):.0f} points off either way (95 % interval); more labels"
        " make it narrower"
    )


def _of_leaks(dataset: Dataset) -> str | None:
    columns = columns_of_the_label(dataset.graph.features, dataset.graph.labels)
    if not len(columns):
        return None
    return (
        f"{_named(columns, dataset)}: the same for all nodes of a class and not for all classes, as a copy of"
        " the label is; leave it out unless it is known before the label"
    )
