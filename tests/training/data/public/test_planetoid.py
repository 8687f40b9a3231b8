import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from rbm_training.data.graph import UNLABELLED, GraphError
from rbm_training.data.public.planetoid import read_planetoid
from rbm_training.data.public.registry import load_named

NUM_TRAIN, NUM_KNOWN, GAPS = 4, 510, {513, 516}
TESTS = [511, 510, 515, 512, 514, 517]  # out of order, as they are published
N = 518


@pytest.fixture
def root(tmp_path):
    """A set in the published form; two of the nodes from 510 on have neither features nor label."""
    folder = tmp_path / "CiteSeer" / "raw"
    folder.mkdir(parents=True)
    features = sp.csr_matrix(np.eye(N, 5, dtype=np.float32) + np.eye(N, 5, k=-510, dtype=np.float32))
    onehot = np.eye(2, dtype=np.int32)[np.arange(N) % 2]
    parts = {
        "x": features[:NUM_TRAIN],
        "allx": features[:NUM_KNOWN],
        "tx": features[TESTS],
        "y": onehot[:NUM_TRAIN],
        "ally": onehot[:NUM_KNOWN],
        "ty": onehot[TESTS],
        "graph": {0: [1, 1, 0], 1: [0], 2: [511], 511: [2]},
    }
    for name, part in parts.items():
        (folder / f"ind.citeseer.{name}").write_bytes(pickle.dumps(part))
    (folder / "ind.citeseer.test.index").write_text("".join(f"{node}\n" for node in TESTS))
    return tmp_path


def test_test_nodes_find_their_place_and_gaps_have_no_label(root):
    dataset = load_named("citeseer", root)
    wanted = np.where(np.isin(np.arange(N), list(GAPS)), UNLABELLED, np.arange(N) % 2)
    np.testing.assert_array_equal(dataset.graph.labels, wanted)
    assert dataset.graph.dense_features()[511].tolist() == [0, 1, 0, 0, 0]
    assert dataset.graph.edge_index.T.tolist() == [[0, 1], [1, 0], [2, 511], [511, 2]]
    assert np.flatnonzero(dataset.published.test[0]).tolist() == sorted(TESTS)
    assert np.flatnonzero(dataset.published.train[0]).tolist() == list(range(NUM_TRAIN))
    assert dataset.published.val.sum() == 500


def test_reading_writes_nothing(root):
    before = sorted(root.rglob("*"))
    load_named("citeseer", root)
    assert sorted(root.rglob("*")) == before


def test_a_damaged_file_is_refused(root):
    folder = root / "CiteSeer" / "raw"
    (folder / "ind.citeseer.graph").write_bytes(b"cut short")
    with pytest.raises(GraphError, match=r"CiteSeer/raw: found unreadable files"):
        read_planetoid(folder, "citeseer")
