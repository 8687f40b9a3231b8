"""What every source gives: a graph, the split published with it, and where its nodes stood in the source."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from rbm_training.config import DatasetConfig
from rbm_training.data.column_features import fit_columns
from rbm_training.data.column_scales import drowning_columns
from rbm_training.data.column_splits import split_by_column
from rbm_training.data.columns import RawColumns
from rbm_training.data.graph import NOBODY, Graph, Integers, Split, Task, make_task
from rbm_training.data.graph_statistics import GraphStatistics, Source, graph_statistics
from rbm_training.data.rare_classes import MergedClasses
from rbm_training.data.splits import PublishedSplit, draw_split, published_split


@dataclass(frozen=True)  # without slots, for what is cached
class Dataset:
    """A graph and, if there is one, the split published with it.

    Shapes: kept (S,) bool, which of the source's S nodes the graph has, in their order; None for all; ranks
    (N,), the order of the nodes by the column that divides them, where one does.

    Attributes:
        source: what is known of where it was read.
        columns: what the features were made of, where nodes came with columns that are no plain numbers.
        merged: rare classes that are taken for one.
    """

    graph: Graph
    published: PublishedSplit | None = None
    kept: npt.NDArray[np.bool_] | None = None
    source: Source | None = None
    columns: RawColumns | None = None
    ranks: Integers | None = None
    merged: MergedClasses | None = None

    def task(self, config: DatasetConfig, seed: int) -> Task:
        """The run's view for a seed: the published split, or one drawn with the seed. Features of raw columns
        are made anew where nodes are held out, so that nothing is fitted to these.

        Raises:
            GraphError: a class has too few labels, the published masks do not fit the setting, or a column
                says nothing about the observed nodes.
        """
        split = self.split(config, seed)
        task = make_task(self.graph, split)
        if self.columns is None or len(task.observed_nodes) == self.graph.num_nodes:
            return task
        return make_task(self._with_features_of(self.columns, task.observed_nodes), split)

    def split(self, config: DatasetConfig, seed: int) -> Split:
        """Who does what for a seed: as published, by a column, or drawn with the seed; no feature is made for
        it.

        Raises:
            GraphError: no label is left to test on, or the published masks or the column do not fit.
        """
        if self.ranks is not None:
            return split_by_column(self.graph, self.ranks, config, seed)
        if self.published is not None:
            return published_split(self.graph, self.published, config, seed)
        return draw_split(self.graph, config, seed)

    def split_in_words(self, config: DatasetConfig) -> str:
        """How nodes are divided, by what, and into what shares."""
        if self.published is not None:
            return "published with the graph"
        if config.train_fraction is None or config.val_fraction is None:
            counts = f"{config.train_per_class:,} to learn from and {config.val_per_class:,} to select on"
            return f"drawn from each class, {counts}"
        shares = f"{config.train_fraction:.0%} to learn from and {config.val_fraction:.0%} to select on"
        if config.group_column is not None:
            return f"whole groups of {config.group_column}, drawn, about {shares}"
        if config.time_column is not None:
            return f"the oldest by {config.time_column} first, about {shares}, the newest to test on"
        return f"drawn from each class, {shares}"

    def kinds_of_columns(self, task: Task) -> dict[str, str]:
        """What each raw column is taken for, in words; nothing where features came as numbers."""
        if self.columns is None:
            return {}
        fitted = fit_columns(self.columns, task.observed_nodes)
        return {each.name: f"{each.kind}, {each.num_features} features" for each in fitted.columns}

    def _with_features_of(self, columns: RawColumns, observed: Integers) -> Graph:
        """The graph with features that only observed nodes have shaped, in the form that it has."""
        features = fit_columns(columns, observed).features
        dense = isinstance(self.graph.features, np.ndarray)
        return replace(self.graph, features=features.toarray() if dense else features)

    @property
    def source_rows(self) -> Integers:
        """Row in the source of each node of the graph: (N,)."""
        return np.arange(self.graph.num_nodes) if self.kept is None else np.flatnonzero(self.kept)

    @property
    def num_source_nodes(self) -> int:
        """S."""
        return self.graph.num_nodes if self.kept is None else len(self.kept)

    def largest_component(self) -> "Dataset":
        """Only the largest connected component, without a published split: so benchmarks that have none are
        used."""
        _, component = sp.csgraph.connected_components(self.graph.adjacency, directed=False)
        kept = component == np.bincount(component).argmax()
        return replace(self, graph=self.graph.subgraph(np.flatnonzero(kept)), published=None, kept=kept)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features (F,) where each came as a column of numbers, otherwise none."""
        return () if self.source is None else self.source.feature_names

    @property
    def names_of_sources(self) -> tuple[str, ...]:
        """Of each feature (F,) the name of the column that it was made of, where it was made of one."""
        if self.columns is None:
            return self.feature_names
        fitted = fit_columns(self.columns, np.arange(self.graph.num_nodes)).columns
        return tuple(each.name for each in fitted for _ in range(each.num_features))

    @cached_property
    def drowning_columns(self) -> Integers:
        """Features so large that rows of norm 1 hold little of the others; none of raw columns, which were
        scaled when they became features."""
        return NOBODY if self.columns is not None else drowning_columns(self.graph.features)

    @cached_property
    def statistics(self) -> GraphStatistics:
        """The account of what was read."""
        return graph_statistics(self.graph, self.num_source_nodes, self.source, self.merged)

    @cached_property
    def sha256(self) -> str:
        """Digest of everything a run can read of the graph, whatever file it came from."""
        graph, features = self.graph, sp.csr_array(self.graph.features)
        parts = [graph.edge_index, graph.labels, graph.node_ids.astype(str), np.array(graph.class_names)]
        parts += [np.array(features.shape), features.indptr.astype(np.int64)]
        parts += [features.indices.astype(np.int64), features.data]
        if self.published is not None:
            parts += [self.published.train, self.published.val, self.published.test]
        if self.ranks is not None:
            parts.append(self.ranks)
        if self.merged is not None:
            parts += [np.array(list(self.merged.sizes)), np.array(list(self.merged.sizes.values()))]
        digest = hashlib.sha256(b"" if self.columns is None else self.columns.sha256.encode())
        for part in parts:
            digest.update(f"{part.dtype.kind}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()
