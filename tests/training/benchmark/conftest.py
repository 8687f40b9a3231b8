import numpy as np
import pytest

from rbm_training.data.builtin.synthetic import generate_graph

COMPARISON = """
datasets = ["small"]
methods = ["glnn", "rbm"]
seeds = [0, 1]
data_root = "{root}"

[experiment.dataset]
train_per_class = 8
val_per_class = 8

[experiment.teacher]
hidden = 16
max_epochs = 20

[experiment.positions]
width = 8
walk_length = 10
walks_per_node = 2

[experiment.student]
hidden = 16

[experiment.distill]
warmup_epochs = 4
max_epochs = 12
"""


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    """A folder with one named set."""
    return write_data_root(tmp_path_factory.mktemp("data"))


def write_data_root(root):
    graph = generate_graph(0)
    np.savez(root / "small.npz", edge_index=graph.edge_index, x=graph.dense_features(), y=graph.labels)
    return root


@pytest.fixture
def comparison(data_root, tmp_path):
    """A comparison of two methods over two seeds, as a file."""
    path = tmp_path / "comparison.toml"
    path.write_text(COMPARISON.format(root=data_root))
    return path
