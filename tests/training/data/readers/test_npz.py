import numpy as np
import pytest

from rbm_training.data.graph import UNLABELLED, GraphError
from rbm_training.data.readers.npz import load_npz
from tests.training.objects import write_npz

N, F = 6, 4


@pytest.fixture
def write(tmp_path):
    def save(**changes):
        path = tmp_path / "mine.npz"
        write_npz(path, **changes)
        return path

    return save


def test_a_graph_is_read_undirected_without_loops(write):
    graph = load_npz(write(), "mine").graph
    assert graph.adjacency.nnz == 12
    assert (graph.adjacency != graph.adjacency.T).nnz == 0
    assert (graph.num_nodes, graph.num_features, graph.num_classes) == (N, F, 2)
    assert graph.neighbors_of(0).tolist() == [1, 5]


def test_sparse_features_equal_dense_ones(write):
    sparse = {
        "x": None,
        "feat_indptr": np.array([0, 2, 2, 3, 3, 3, 3]),
        "feat_indices": np.array([1, 3, 0]),
        "feat_shape": np.array([N, F]),
    }
    wanted = np.zeros((N, F), np.float32)
    wanted[0, [1, 3]] = 1
    wanted[2, 0] = 1
    np.testing.assert_array_equal(load_npz(write(**sparse), "mine").graph.dense_features(), wanted)
    weighted = load_npz(write(**sparse, feat_data=np.array([2.0, 3, 4])), "mine").graph.dense_features()
    assert (weighted[0, 1], weighted[0, 3], weighted[2, 0]) == (2, 3, 4)


def test_ids_names_and_masks_are_taken_over(write):
    masks = {
        f"{role}_mask": np.arange(N) // 2 == index for index, role in enumerate(("train", "val", "test"))
    }
    loaded = load_npz(
        write(node_ids=np.array(list("fedcba")), class_names=np.array(["yes", "no"]), **masks), "mine"
    )
    assert loaded.graph.node_ids.tolist() == list("fedcba")
    assert loaded.graph.class_names == ("yes", "no")
    assert loaded.published.val.tolist() == [[False, False, True, True, False, False]]


def test_a_class_may_be_known_by_its_name_alone(write):
    graph = load_npz(write(y=np.array([0, 2, 0, 2, -1, 2]), class_names=np.array(list("abcd"))), "mine").graph
    assert (graph.num_classes, graph.class_names) == (4, ("a", "b", "c", "d"))


def test_a_label_that_says_nothing_is_none(write):
    graph = load_npz(write(unlabeled_idx=np.array([0])), "mine").graph
    assert graph.labels.tolist() == [UNLABELLED, 1, 0, 1, UNLABELLED, 1]


MASKS = {f"{role}_masks": np.ones((3, N), bool) for role in ("train", "val", "test")}
CSR = {"x": None, "feat_indptr": np.array([0, 1, 1, 1, 1, 1, 1]), "feat_shape": np.array([N, F])}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edge_index": None}, r"no edge_index; wanted edge_index of shape \(2, any\)"),
        ({"y": None}, r"no y; wanted y of shape \(6\)"),
        ({"x": None, "feat_indices": np.array([0])}, "no feat_shape"),
        ({"edge_index": np.array([[0, 1], [1, 6]])}, r"column 1 = \[1, 6\]; wanted node numbers 0\.\.5"),
        ({"edge_index": np.array([[-1], [2]])}, r"column 0 = \[-1, 2\]"),
        ({"edge_index": np.zeros((3, 2), int)}, r"edge_index of shape \(3, 2\)"),
        ({"edge_index": np.zeros((2, 2))}, "type float64; wanted shape .* integer"),
        ({"x": np.full((N, F), np.nan, np.float32)}, r"x\[0, 0\] = nan; wanted finite"),
        ({"x": np.full((N, F), np.inf)}, r"x\[0, 0\] = inf"),
        ({"x": np.full((N, F), np.inf, np.float16)}, r"x\[0, 0\] = inf"),
        ({"x": np.zeros((N, 0))}, "at least one node and one feature"),
        ({"y": np.zeros(N - 1, int)}, r"y of shape \(5\).* wanted shape \(6\)"),
        ({"y": np.full(N, -2)}, "y with a value -2"),
        ({"y": np.full(N, -1)}, "without a single label"),
        ({"y": np.array([0, 2, 0, 2, -1, 2])}, "class '1' without labels"),
        ({"class_names": np.array(["a", "a"])}, r"2 class_names \(1 different\)"),
        ({"node_ids": np.array([1, 2, 3, 4, 5, 5])}, "node id 5 twice"),
        ({"node_ids": np.arange(5)}, r"node_ids of shape \(5\)"),
        ({"node_ids": np.array([2**63, 1, 2, 3, 4, 5], np.uint64)}, "node id 9223372036854775808"),
        ({"node_ids": np.array([b"\xff", b"a", b"b", b"c", b"d", b"e"])}, "no text"),
        ({"node_ids": np.array(["\ud800", *"abcde"])}, "no text"),
        ({"y": np.array([0, 10**9, 0, 0, -1, 0])}, "class '1' without labels"),
        ({"y": np.zeros(N, int)}, "one class; wanted at least two"),
        ({"x": np.full((N, F), 1e16)}, r"x\[0, 0\] = 1e\+16; wanted finite numbers within"),
        ({"x": None, "feat_indptr": np.array([0]), "feat_shape": np.array([0, F])}, "at least one node"),
        ({"x": None, "feat_indptr": np.array([0]), "feat_shape": np.array([-1, F])}, "at least one node"),
        (MASKS | {"val_masks": np.ones((2, N), bool)}, "train, val and test masks"),
        ({name: np.ones((0, N), bool) for name in MASKS}, "train, val and test masks"),
        ({"val_masks": np.ones((1, N), bool), "test_masks": np.ones((1, N), bool)}, "no train_masks"),
        (MASKS | {"train_mask": np.ones(N, bool)}, r"both \*_mask and \*_masks"),
        ({"train_mask": np.ones(N, bool)}, "no test_mask"),
        ({"y": np.full(N, 0.5)}, r"y of floats; wanted integers, .* \(regression\)"),
        ({"y": np.ones((N, 3), int)}, r"y of shape \(6, 3\); .* \(multi-label\)"),
        ({"trian_mask": np.ones(N, bool)}, "unknown keys trian_mask"),
        ({"feat_indptr": np.zeros(N + 1, int)}, "both x and feat"),
        ({**CSR, "feat_indices": np.array([F])}, r"feat_indices in 4\.\.4; wanted columns 0\.\.3"),
        ({**CSR, "feat_indices": np.array([0, 1])}, r"feat_indices of shape \(2\).* wanted shape \(1\)"),
        (
            {**CSR, "feat_indptr": np.array([0, 0, 2, 2, 2, 2, 2]), "feat_indices": np.array([3, 3])},
            "feat_indices with column 3 twice in row 1; wanted it once",
        ),
        ({"unlabeled_idx": np.array([1, N])}, r"unlabeled_idx column 1 = 6; wanted node numbers 0\.\.5"),
        ({**CSR, "feat_indices": np.array([0]), "feat_data": np.array([np.nan])}, r"feat_data\[0\] = nan"),
    ],
)
def test_a_malformed_graph_is_refused_by_name_with_found_and_wanted(write, changes, message):
    path = write(**changes)
    with pytest.raises(GraphError, match=message) as raised:
        load_npz(path, "mine")
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("form", ["mask", "masks"])
def test_a_split_without_validation_nodes_is_passed_on(write, form):
    train, test = np.arange(N) < 2, np.arange(N) > 4
    masks = {f"train_{form}": train, f"test_{form}": test}
    if form == "masks":
        masks = {name: np.stack([mask, ~mask]) for name, mask in masks.items()}
    published = load_npz(write(**masks), "mine").published
    assert published.train[0].tolist() == train.tolist()
    assert published.val.shape == published.test.shape
    assert not published.val.any()


@pytest.mark.parametrize("form", [{"x": None}, {"x": None, "edge_weight": np.ones(7)}])
def test_without_features_nodes_have_their_degrees(write, form):
    dataset = load_npz(write(**form), "mine")
    assert dataset.graph.features.shape == (N, 2)
    assert not dataset.source.has_features
    assert dataset.source.edges.num_self_loops == 1
    told = ["mine.npz: edge_weight: edges have no weight and no kind here"]
    assert list(dataset.source.unused) == told[: len(form) - 1]


def test_a_pickle_is_never_opened(tmp_path):
    path = tmp_path / "mine.npz"
    write_npz(path, y=np.array([None] * N, dtype=object))
    with pytest.raises(GraphError, match="no pickled objects"):
        load_npz(path, "mine")


def test_names_and_ids_in_bytes_are_text(write):
    names = {
        "class_names": np.array([b"yes", "ñ".encode()]),
        "node_ids": np.array([b"a", b"b", b"c", b"d", b"e", b"f"]),
    }
    graph = load_npz(write(**names), "mine").graph
    assert graph.class_names == ("yes", "ñ")
    assert graph.node_ids.tolist() == list("abcdef")


def test_a_damaged_archive_is_refused_wherever_the_damage_is(write):
    path = write()
    arrays_in = dict(np.load(path))
    np.savez_compressed(path, **arrays_in)
    raw = path.read_bytes()
    refused = 0
    for place in range(30, len(raw), 11):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 0x5A]) + raw[place + 1 :])
        try:
            load_npz(path, "mine")
        except GraphError:
            refused += 1
    assert refused


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"text", b"\x93NUMPY"])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    with pytest.raises(GraphError, match="no readable"):
        load_npz(path, "mine")
