"""Where graphs come from: one function, four kinds of source."""

import hashlib
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from rbm_training.config import DatasetConfig
from rbm_training.datasets.digits import load_digits_graph
from rbm_training.datasets.files import PublishedSplit, load_npz
from rbm_training.datasets.splits import draw_split, published_split
from rbm_training.datasets.synthetic import generate_graph
from rbm_training.graph import Graph, GraphError, Task, make_task

SYNTHETIC_SEED = 0


@dataclass(frozen=True, slots=True)
class Dataset:
    """A graph and, if there is one, the split published with it."""

    graph: Graph
    published: PublishedSplit | None = None

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


def load_dataset(config: DatasetConfig) -> Dataset:
    """Read or make the graph an experiment asks for, its features in the form that suits them.

    Raises:
        GraphError: no such file, or a malformed graph; says what was found and what was wanted.
    """
    dataset = _load(config)
    return Dataset(dataset.graph.in_best_form(), dataset.published)


def _load(config: DatasetConfig) -> Dataset:
    if config.kind == "digits":
        return Dataset(load_digits_graph())
    if config.kind == "synthetic":
        return Dataset(generate_graph(SYNTHETIC_SEED))
    if config.kind == "files":
        assert config.path is not None
        loaded = load_npz(config.path, config.path.stem)
        return Dataset(loaded.graph, loaded.published)
    assert config.name is not None
    assert config.root is not None
    path = config.root / f"{config.name}.npz"
    if not path.is_file():
        have = ", ".join(sorted(entry.stem for entry in config.root.glob("*.npz"))) or "no .npz file"
        raise GraphError(f"dataset {config.name!r}", f"{have} in {config.root}", f"{config.name}.npz")
    loaded = load_npz(path, config.name)
    if loaded.published is None:
        return Dataset(largest_component(loaded.graph))
    return Dataset(loaded.graph, loaded.published)


def largest_component(graph: Graph) -> Graph:
    """The graph on its largest connected component, as the benchmarks without a public split use it."""
    _, component = sp.csgraph.connected_components(graph.adjacency, directed=False)
    return graph.subgraph(np.flatnonzero(component == np.bincount(component).argmax()))
