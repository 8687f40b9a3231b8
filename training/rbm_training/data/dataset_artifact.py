"""A dataset as an artifact, and back: what a run was made from stays with it when its source has gone.

Dimension letters: N nodes, F features, S nodes of the source.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from rbm_training.config import DatasetConfig, FeaturesConfig
from rbm_training.data.columns import from_bytes
from rbm_training.data.dataset import Dataset
from rbm_training.data.edges import EdgeCounts
from rbm_training.data.graph import Features, Graph
from rbm_training.data.graph_statistics import Source
from rbm_training.data.rare_classes import MergedClasses
from rbm_training.data.splits import PublishedSplit
from rbm_training.runtime.artifacts import Artifact, ArtifactStore

Arrays = Mapping[str, npt.NDArray[Any]]

STAGE: Final = "graph"
MASKS: Final = ("train", "val", "test")
NODE_ARRAYS: Final = ("kept", "ranks")


def keep(dataset: Dataset, config: DatasetConfig, store: ArtifactStore) -> None:
    """Leave the dataset with the run, in the place of one that its source gave before."""
    before = find(config, store)
    if before is not None and (before.sha256, before.source) != (dataset.sha256, dataset.source):
        store.discard(STAGE, _key(config))
    store.get(STAGE, _key(config), lambda: as_artifact(dataset))


def find(config: DatasetConfig, store: ArtifactStore) -> Dataset | None:
    """The dataset that a run has kept, if there is one."""
    kept = store.find(STAGE, _key(config))
    return None if kept is None else from_artifact(kept)


def _key(config: DatasetConfig) -> dict[str, object]:
    return config.model_dump(mode="json", exclude={"root", "path"})


def as_artifact(dataset: Dataset) -> Artifact:
    """Return the arrays of a dataset, and its names as facts."""
    graph = dataset.graph
    arrays = {
        **_compressed("adjacency", graph.adjacency),
        **_features(graph.features),
        "labels": graph.labels,
        "node_ids": graph.node_ids,
    }
    if dataset.published is not None:
        arrays |= {f"published_{name}": getattr(dataset.published, name) for name in MASKS}
    arrays |= {name: array for name in NODE_ARRAYS if (array := getattr(dataset, name)) is not None}
    said = None
    if dataset.columns is not None:
        arrays["columns"] = np.frombuffer(dataset.columns.to_bytes(), np.uint8)
        said = dataset.columns.config.model_dump(mode="json")
    return Artifact(
        arrays,
        {
            "source": None if dataset.source is None else asdict(dataset.source),
            "name": graph.name,
            "class_names": list(graph.class_names),
            "num_features": graph.num_features,
            "features": said,
            "merged": None if dataset.merged is None else asdict(dataset.merged),
        },
    )


def from_artifact(artifact: Artifact) -> Dataset:
    """Return the dataset that `as_artifact` was asked of."""
    arrays = {name: np.array(array) for name, array in artifact.arrays.items()}
    facts, N = artifact.facts, len(arrays["labels"])
    published = None
    if "published_train" in arrays:
        masks = {name: arrays[f"published_{name}"] for name in MASKS}
        published = PublishedSplit(**masks)
    shape = (N, facts["num_features"])
    graph = Graph(
        name=facts["name"],
        adjacency=_matrix("adjacency", arrays, (N, N)),
        features=arrays["features"] if "features" in arrays else _matrix("features", arrays, shape),
        labels=arrays["labels"],
        node_ids=arrays["node_ids"],
        class_names=tuple(facts["class_names"]),
    )
    columns = None
    if "columns" in arrays:
        said = FeaturesConfig.model_validate(facts["features"])
        columns = from_bytes(facts["name"], arrays["columns"], said)
    of_nodes = {name: arrays.get(name) for name in NODE_ARRAYS}
    merged = MergedClasses(**facts["merged"]) if facts.get("merged") else None
    source = _source(facts.get("source"))
    return Dataset(graph, published, source=source, columns=columns, merged=merged, **of_nodes)


def _source(facts: Mapping[str, Any] | None) -> Source | None:
    if facts is None:  # of a graph that is made, or an artifact of before
        return None
    names = tuple(facts.get("feature_names", ()))  # which artifacts of before have not
    return Source(EdgeCounts(**facts["edges"]), tuple(facts["unused"]), facts["has_features"], names)


def _features(features: Features) -> dict[str, npt.NDArray[Any]]:
    return {"features": features} if isinstance(features, np.ndarray) else _compressed("features", features)


def _compressed(name: str, matrix: sp.csr_array) -> dict[str, npt.NDArray[Any]]:
    parts = {"indptr": matrix.indptr, "indices": matrix.indices, "data": matrix.data}
    return {f"{name}_{part}": array for part, array in parts.items()}


def _matrix(name: str, arrays: Arrays, shape: tuple[int, int]) -> sp.csr_array:
    parts = (arrays[f"{name}_data"], arrays[f"{name}_indices"], arrays[f"{name}_indptr"])
    return sp.csr_array(parts, shape=shape)
