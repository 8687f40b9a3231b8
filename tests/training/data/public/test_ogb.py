import gzip

import numpy as np
import pytest

from rbm_training.config import DatasetConfig
from rbm_training.data.graph import GraphError
from rbm_training.data.public.registry import load_named

FEATURES = [[0, 0.5], [1, -1.5], [2, 1e-3], [3, 4], [4, 0], [5, 6]]
SMALL = {
    "raw/num-node-list": [[6]],
    "raw/edge": [[0, 1], [1, 0], [2, 2], [3, 1], [4, 5], [4, 5]],
    "raw/node-feat": FEATURES,
    "raw/node-label": [[0], [1], [2], [0], [1], [2]],
    "split/time/train": [[1], [0], [2]],
    "split/time/valid": [[3]],
    "split/time/test": [[4], [5]],
}
NAMES = {"mapping/labelidx2arxivcategeory": [["label idx", "arxiv category"], [1, "b"], [2, "c"], [0, "a"]]}


def write(folder, tables):
    for name, rows in tables.items():
        path = folder / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("".join(",".join(map(str, row)) + "\n" for row in rows).encode()))


@pytest.mark.parametrize("folder", ["ogbn_arxiv", "arxiv"])
def test_a_folder_as_ogb_unpacks_it_is_a_graph_with_its_split(tmp_path, folder):
    write(tmp_path / folder, SMALL | NAMES)
    dataset = load_named("ogbn-arxiv", tmp_path)
    graph = dataset.graph
    np.testing.assert_array_equal(graph.features, np.array(FEATURES, np.float32))
    assert graph.features.dtype == np.float32
    assert graph.edge_index.T.tolist() == [[0, 1], [1, 0], [1, 3], [3, 1], [4, 5], [5, 4]]
    assert graph.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert graph.class_names == ("a", "b", "c")
    task = dataset.task(DatasetConfig(kind="named", name="ogbn-arxiv"), seed=3)
    assert (task.train.tolist(), task.val.tolist(), task.test.tolist()) == ([0, 1, 2], [3], [4, 5])


def test_classes_without_names_are_numbered(tmp_path):
    write(tmp_path / "ogbn_arxiv", SMALL)
    assert load_named("ogbn-arxiv", tmp_path).graph.class_names == ("0", "1", "2")


def test_products_may_have_classes_that_no_training_node_has(tmp_path):
    renamed = {name.replace("time", "sales_ranking"): rows for name, rows in SMALL.items()}
    write(tmp_path / "ogbn_products", renamed | {"split/sales_ranking/train": [[0], [1]]})
    config = DatasetConfig(kind="named", name="ogbn-products")
    assert load_named("ogbn-products", tmp_path).task(config, seed=0).train.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"raw/num-node-list": [[7]]}, "6 feature rows; wanted 7, as num-node-list says"),
        ({"raw/node-label": [[0], [1]]}, "2 label rows; wanted 6"),
        ({"raw/edge": [[0, 1], [1, 6]]}, r"edge\.csv\.gz: found edges column 1 = \[1, 6\]"),
        ({"raw/edge": [[0, 1, 2]]}, r"edge\.csv\.gz: found no readable table"),
        ({"raw/edge": [[0, ""]]}, r"edge\.csv\.gz: found no readable table"),
        ({"raw/edge": [[0, 2**31]]}, r"edge\.csv\.gz: found no readable table"),
        ({"raw/node-feat": [["a", "b"]] * 6}, r"node-feat\.csv\.gz: found no readable table"),
        ({"raw/node-feat": [[1, "nan"]] * 6}, r"features\[0, 1\] = nan"),
        ({"raw/node-feat": []}, r"node-feat\.csv\.gz: found no readable table"),
        ({"raw/node-label": [[0]] * 6}, "one class"),
        ({"mapping/labelidx2arxivcategeory": [["name"], ["a"]]}, "columns name; wanted a number and a name"),
        ({"mapping/labelidx2arxivcategeory": [["a", "b"], [0, "x"]]}, r"1 class_names \(1 different\)"),
        ({"split/time/test": [[6]]}, r"test\.csv\.gz: found test column 0 = 6"),
    ],
)
def test_malformed_tables_are_refused_by_name(tmp_path, tables, message):
    write(tmp_path / "ogbn_arxiv", SMALL | tables)
    with pytest.raises(GraphError, match=message):
        load_named("ogbn-arxiv", tmp_path)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_missing_or_damaged_table_is_refused_by_name(tmp_path, name, damage):
    write(tmp_path / "ogbn_arxiv", SMALL)
    path = tmp_path / "ogbn_arxiv" / f"{name}.csv.gz"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        path.unlink()
    with pytest.raises(GraphError, match=rf"{path.name}: found no readable table"):
        load_named("ogbn-arxiv", tmp_path)
