from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from rbm_training.config import DatasetConfig
from rbm_training.data.builtin.synthetic import generate_graph
from rbm_training.data.dataset import Dataset
from rbm_training.data.dataset_artifact import as_artifact, from_artifact
from rbm_training.data.edges import EdgeCounts
from rbm_training.data.graph_statistics import Source
from rbm_training.data.rare_classes import MergedClasses
from rbm_training.data.splits import PublishedSplit
from rbm_training.runtime.artifacts import ArtifactStore

N = 400


def never():
    raise AssertionError("made again")


def datasets():
    graph = generate_graph(0)
    masks = {name: np.arange(N)[None] % 3 == place for place, name in enumerate(("train", "val", "test"))}
    words = replace(
        graph, features=sp.csr_array(np.maximum(graph.features, 0)), node_ids=graph.node_ids.astype(str)
    )
    return {
        "dense": Dataset(graph),
        "sparse, with text for ids": Dataset(words),
        "with a published split": Dataset(graph, PublishedSplit(**masks)),
        "of a larger source": Dataset(graph, kept=np.arange(N + 10) < N),
        "of named columns": Dataset(
            graph, source=Source(EdgeCounts(5, 1, 1, 1), ("x: y",), feature_names=("a", "b"))
        ),
        "divided by a column": Dataset(graph, ranks=np.arange(N) % 7),
        "with merged classes": Dataset(graph, merged=MergedClasses("other", {"a": 1, "b": 2})),
    }


@pytest.mark.parametrize("name", datasets())
def test_a_dataset_comes_back_from_disk_as_it_was(name, tmp_path):
    dataset, store = datasets()[name], ArtifactStore(tmp_path)
    store.get("graph", {}, lambda: as_artifact(dataset))
    found = from_artifact(store.get("graph", {}, never))
    assert found.sha256 == dataset.sha256
    assert found.graph.name == dataset.graph.name
    assert type(found.graph.features) is type(dataset.graph.features)
    assert found.graph.features.dtype == dataset.graph.features.dtype
    np.testing.assert_array_equal(found.source_rows, dataset.source_rows)
    assert (found.num_source_nodes, found.source) == (dataset.num_source_nodes, dataset.source)
    assert found.merged == dataset.merged
    config = DatasetConfig(kind="files", path="unread", time_column="when")
    task, wanted = (each.task(config, 0) for each in (found, dataset))
    np.testing.assert_array_equal(task.train, wanted.train)


def test_merged_classes_are_part_of_the_digest():
    merged = ({"a": 1, "b": 2}, {"a": 1, "c": 2}, {"a": 2, "b": 1})
    found = [Dataset(generate_graph(0), merged=MergedClasses("other", sizes)) for sizes in merged]
    assert len({dataset.sha256 for dataset in found}) == 3
