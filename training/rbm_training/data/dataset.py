"""What every source gives: a graph, the split published with it, and where its nodes stood in the source."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from rbm_training.config import DatasetConfig
from rbm_training.data.graph import Graph, Integers, Task, make_task
from rbm_training.data.graph_statistics import GraphStatistics, Source, graph_statistics
from rbm_training.data.splits import PublishedSplit, draw_split, published_split


@dataclass(frozen=True)  # without slots, for what is cached
class Dataset:
    """A graph and, if there is one, the split published with it.

    Shapes: kept (S,) bool, which of the source's S nodes the graph has, in their order; None for all.
    """

    graph: Graph
    published: PublishedSplit | None = None
    kept: npt.NDArray[np.bool_] | None = None
    source: Source | None = None

    def task(self, config: DatasetConfig, seed: int) -> Task:
        """The run's view for a seed: the published split, or one drawn with the seed.

        Raises:
            GraphError: a class has too few labels, or the published masks do not fit the setting.
        """
        if self.published is not None:
            split = published_split(self.graph, self.published, config, seed)
        else:
            split = draw_split(self.graph, config, seed)
        return make_task(self.graph, split)

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

    @cached_property
    def statistics(self) -> GraphStatistics:
        """The account of what was read."""
        return graph_statistics(self.graph, self.num_source_nodes, self.source)

    @cached_property
    def sha256(self) -> str:
        """Digest of everything a run can read of the graph, whatever file it came from."""
        graph, features = self.graph, sp.csr_array(self.graph.features)
        parts = [graph.edge_index, graph.labels, graph.node_ids.astype(str), np.array(graph.class_names)]
        parts += [np.array(features.shape), features.indptr.astype(np.int64)]
        parts += [features.indices.astype(np.int64), features.data]
        if self.published is not None:
            parts += [self.published.train, self.published.val, self.published.test]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(f"{part.dtype.kind}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()
