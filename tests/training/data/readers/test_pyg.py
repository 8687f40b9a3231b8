import numpy as np
import pytest
import torch
from torch_geometric.data import Data, HeteroData

from rbm_training.data.graph import UNLABELLED, GraphError
from rbm_training.data.readers.files import load_files

EDGES = torch.tensor([[0, 1, 1, 2, 3, 3], [1, 0, 2, 3, 4, 3]])
MASKS = {f"{role}_mask": torch.arange(5) == node for node, role in enumerate(("train", "val", "test"))}


@pytest.fixture
def load(tmp_path):
    def read(content):
        torch.save(content, tmp_path / "mine.pt")
        return load_files(tmp_path / "mine.pt")

    return read


def data(**changes):
    return Data(**{"x": torch.eye(5, 4), "edge_index": EDGES, "y": torch.tensor([0, 1, 0, -1, 1])} | changes)


def test_a_saved_data_is_a_graph(load):
    dataset = load(data(**MASKS))
    graph = dataset.graph
    assert (graph.name, graph.num_nodes, graph.adjacency.nnz) == ("mine", 5, 8)
    assert graph.labels.tolist() == [0, 1, 0, UNLABELLED, 1]
    np.testing.assert_array_equal(graph.dense_features(), np.eye(5, 4, dtype=np.float32))
    assert dataset.published.val.tolist() == [[False, True, False, False, False]]
    assert (dataset.source.edges.num_self_loops, dataset.source.edges.num_reversed) == (1, 1)


def test_masks_of_several_splits_stand_side_by_side(load):
    masks = {name: torch.stack([mask, mask.roll(1), mask], dim=1) for name, mask in MASKS.items()}
    assert load(data(**masks)).published.train.shape == (3, 5)


def test_labels_in_a_column_features_in_half_precision_and_a_dict_are_taken(load):
    content = data(
        y=torch.tensor([[0], [1], [0], [1], [1]]), x=torch.eye(5, 4, dtype=torch.bfloat16)
    ).to_dict()
    assert load(content).graph.labels.tolist() == [0, 1, 0, 1, 1]


def test_without_x_features_are_degrees(load):
    dataset = load(data(x=None, num_nodes=5))
    assert dataset.graph.num_features == 2
    assert not dataset.source.has_features


def test_what_nobody_reads_is_told(load):
    dataset = load(data(pos=torch.zeros(5, 2), edge_attr=torch.ones(6, 1), title="cities"))
    assert [it.split(": ")[1] for it in dataset.source.unused] == ["pos", "title", "edge_attr"]


class Foreign:
    pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (data(y=torch.tensor([0.5] * 5)), r"y of floats; .* \(regression\)"),
        (data(y=torch.ones(5, 3)), r"y of floats"),
        (data(y=torch.ones(5, 3, dtype=torch.long)), r"y of shape \(5, 3\); .* \(multi-label\)"),
        (data(y=None), "no y"),
        (data(trian_mask=MASKS["train_mask"]), "unknown keys trian_mask"),
        (data(x=torch.eye(5).to_sparse()), "x of type Tensor; wanted a dense tensor"),
        (HeteroData(), r"no file of tensors alone \(torch_geometric\.data\.storage\.BaseStorage\)"),
        ([data()], r"a list of 1; .* torch\.save\(dataset\[0\]"),
        (torch.eye(3), "a Tensor; wanted a torch_geometric.data.Data"),
        (data(other=Foreign()), "no file of tensors alone"),
    ],
)
def test_what_is_no_graph_is_refused_by_what_it_is(load, content, message):
    with pytest.raises(GraphError, match=message) as raised:
        load(content)
    assert "mine.pt: found" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK no archive", "another kind of file"),
        (b"PK\x03\x04 cut off", "damaged, or of another content: .*zip archive.*"),
        (b"", "an empty file"),
    ],
)
def test_a_file_of_something_else_is_refused(content, reason, tmp_path):
    (tmp_path / "mine.pt").write_bytes(content)
    with pytest.raises(GraphError, match=rf"mine\.pt: found no readable file of tensors \({reason}\)"):
        load_files(tmp_path / "mine.pt")
