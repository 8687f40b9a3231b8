import socket
from dataclasses import replace

import numpy as np
import pytest

from rbm_training.config import DatasetConfig
from rbm_training.data.graph import GraphError
from rbm_training.data.loading import load_dataset
from rbm_training.data.public.catalogue import PUBLIC_SETS
from rbm_training.data.public.registry import fetch_and_read, load_named
from rbm_training.data.readers.npz import load_npz
from tests.training.objects import write_npz

MASKS = {f"{role}_mask": np.arange(6) // 2 == index for index, role in enumerate(("train", "val", "test"))}


def two_components(path, **arrays):
    """Nodes 1, 2, 4, 5 hang together, and 0, 3."""
    write_npz(
        path, edge_index=np.array([[1, 2, 4, 0], [2, 4, 5, 3]]), y=np.array([0, 1, 0, 1, 1, 0]), **arrays
    )


def test_the_largest_component_is_used_where_no_split_is_published(tmp_path):
    two_components(tmp_path / "mine.npz")
    dataset = load_named("mine", tmp_path)
    assert dataset.graph.node_ids.tolist() == [1, 2, 4, 5]
    assert dataset.kept.tolist() == [False, True, True, False, True, True]


def test_a_graph_with_a_published_split_is_used_whole(tmp_path):
    two_components(tmp_path / "mine.npz", **MASKS)
    dataset = load_named("mine", tmp_path)
    assert (dataset.graph.num_nodes, dataset.kept) == (6, None)


def test_a_published_split_may_be_left_aside(tmp_path):
    two_components(tmp_path / "mine.npz", **MASKS)
    named = load_dataset(DatasetConfig(kind="named", name="mine", root=tmp_path, split="random"))
    assert (named.graph.node_ids.tolist(), named.published) == ([1, 2, 4, 5], None)
    own = load_dataset(DatasetConfig(kind="files", path=tmp_path / "mine.npz", split="random"))
    assert (own.graph.num_nodes, own.published) == (6, None)
    drawn = own.task(DatasetConfig(train_per_class=1, val_per_class=1), seed=0)
    assert (len(drawn.train), len(drawn.val), len(drawn.test)) == (2, 2, 2)


def test_a_name_that_nobody_knows_is_refused_with_those_that_are_known(tmp_path):
    with pytest.raises(
        GraphError,
        match=r"'kora': found no .*kora\.npz, nor such a public set; wanted .*cora, .*did you mean .cora.\?",
    ):
        load_named("kora", tmp_path)


@pytest.mark.parametrize("name", PUBLIC_SETS)
def test_files_that_are_neither_there_nor_to_be_had_are_told_with_place_and_address(name, tmp_path):
    with socket.socket() as unused:  # bound and never listening: every connection is refused
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/published"
        public = PUBLIC_SETS[name]
        unreachable = replace(public, files=replace(public.files, url=address))
        with pytest.raises(GraphError) as raised:
            fetch_and_read(unreachable, name, tmp_path)
    for part in (f"{name}.npz", str(tmp_path / public.files.folder), address, "wanted either of them"):
        assert part in str(raised.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_published_files_of_cora_are_the_graph_in_our_form(graph_data_root):
    published = load_named("cora", graph_data_root / "raw")
    ours = load_npz(graph_data_root / "cora.npz", "cora")
    assert (published.graph.adjacency != ours.graph.adjacency).nnz == 0
    assert (published.graph.features != ours.graph.features).nnz == 0
    np.testing.assert_array_equal(published.graph.labels, ours.graph.labels)
    np.testing.assert_array_equal(published.published.test, ours.published.test)
    assert published.sha256 == ours.sha256


def test_real_graphs_are_used_as_their_papers_use_them(graph_data_root):
    named = {"kind": "named", "root": graph_data_root}
    assert load_dataset(DatasetConfig(name="amazon-photo", **named)).graph.num_nodes == 7487
    cora = load_dataset(DatasetConfig(name="cora", **named))
    assert cora.graph.num_nodes == 2708
    task = cora.task(DatasetConfig(name="cora", **named), seed=5)
    assert (len(task.train), len(task.val), len(task.test)) == (140, 500, 1000)
