import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch_geometric.io import read_npz

from rbm_training.data.graph import GraphError
from rbm_training.data.public.catalogue import PUBLIC_SETS
from rbm_training.data.public.gnn_benchmark import read_benchmark
from rbm_training.data.public.registry import load_named

COUNTS = np.array([[2, 0, 0], [0, 1, 0], [0, 0, 3], [0, 1, 1], [0, 0, 0], [4, 0, 0]], np.float32)
EDGES = ([0, 1, 2, 2, 3, 3, 4], [1, 2, 1, 3, 3, 0, 5])  # a repeat, a loop, and a part of two nodes


def arrays(**changes):
    adjacency = sp.csr_array((np.ones(7, np.float32), EDGES), shape=(6, 6))
    parts = {}
    for name, matrix in (("adj", adjacency), ("attr", sp.csr_array(COUNTS))):
        parts |= {f"{name}_{part}": getattr(matrix, part) for part in ("data", "indices", "indptr")}
        parts[f"{name}_shape"] = np.array(matrix.shape)
    remarks = {"class_names": np.array(["a", None], dtype=object)}  # a pickle, which is left alone
    return parts | {"labels": np.array([0, 1, 0, 1, 0, 1])} | remarks | changes


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "CS" / "raw"
    folder.mkdir(parents=True)
    return folder / "ms_academic_cs.npz"


def test_the_graph_is_the_one_that_pytorch_geometric_reads_but_for_its_counts(file):
    np.savez(file, **arrays())
    graph = read_benchmark(file, "coauthor-cs").graph
    reference = read_npz(str(file))
    assert sorted(map(tuple, graph.edge_index.T)) == sorted(map(tuple, reference.edge_index.T.tolist()))
    np.testing.assert_array_equal(graph.dense_features(), COUNTS)
    assert torch.equal(torch.from_numpy(graph.dense_features() > 0), reference.x > 0)
    assert graph.labels.tolist() == reference.y.tolist()


def test_the_set_is_found_by_name_and_cut_to_its_largest_component(file, tmp_path):
    np.savez(file, **arrays())
    assert PUBLIC_SETS["coauthor-cs"].files.is_present(tmp_path)
    dataset = load_named("coauthor-cs", tmp_path)
    assert dataset.graph.node_ids.tolist() == [0, 1, 2, 3]
    assert dataset.published is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adj_shape": np.array([6, 7])}, r"adj of shape \(6, 7\)"),
        ({"attr_indices": np.full(6, 3)}, r"attr_indices in 3\.\.3; wanted columns 0\.\.2"),
        ({"labels": np.zeros(5, int)}, r"labels of shape \(5\)"),
    ],
)
def test_malformed_arrays_are_refused_by_name(file, changes, message):
    np.savez(file, **arrays(**changes))
    with pytest.raises(GraphError, match=message):
        read_benchmark(file, "coauthor-cs")
