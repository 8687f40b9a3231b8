"""Tables in CSV and in part files are the same graph as in one Parquet file each."""

import pyarrow as pa
import pytest

from rbm_training.data.graph import UNLABELLED, GraphError
from rbm_training.data.readers.parquet import load_parquet
from tests.training.data.readers.tables import IDS, TABLES, write_table, write_tables


@pytest.fixture
def digest(tmp_path):
    """Of the small good graph, as Parquet has it."""
    return load_parquet(write_tables(tmp_path / "parquet"), "mine").sha256


def write_parts(folder, name, rows_each, suffix):
    table = pa.table(TABLES[name])
    for number, start in enumerate(range(0, len(table), rows_each)):
        write_table(table.slice(start, rows_each), folder / f"part-{number}{suffix}")


def test_tables_in_csv_are_the_same_dataset(tmp_path, digest):
    assert load_parquet(write_tables(tmp_path / "csv", ".csv"), "mine").sha256 == digest


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("ending", ["", ".parquet"])
def test_folders_of_part_files_are_the_same_dataset(tmp_path, digest, suffix, ending):
    for name in TABLES:
        write_parts(tmp_path / "mine" / f"{name}{ending}", name, 2, suffix)
    (tmp_path / "mine" / f"nodes{ending}" / "_SUCCESS").write_text("")
    (tmp_path / "mine" / f"nodes{ending}" / ".part-0.crc").write_text("")
    dataset = load_parquet(tmp_path / "mine", "mine")
    assert (dataset.sha256, dataset.feature_names) == (digest, ("height", "age"))


def test_forty_part_files_keep_the_order_of_their_numbers(tmp_path):
    folder = tmp_path / "mine"
    for number in range(40):
        columns = {"node_id": [number], "size": [number / 2], "label": [f"class {number % 2}"]}
        write_table(columns, folder / "nodes" / f"part.{number}.csv")
    write_table({"source": list(range(39)), "target": list(range(1, 40))}, folder / "edges.csv")
    graph = load_parquet(folder, "mine").graph
    assert graph.node_ids.tolist() == list(range(40))
    assert graph.features[:, 0].tolist() == [number / 2 for number in range(40)]


def test_part_files_whose_numbers_have_other_types_are_one_column(tmp_path):
    folder = write_tables(tmp_path / "mine", ".csv", nodes=None)
    write_table({"node_id": IDS[:3], "height": [1, 2, 3]}, folder / "nodes" / "0.csv")
    write_table({"node_id": IDS[3:], "height": [0.5, 1.5, 2.5]}, folder / "nodes" / "1.csv")
    assert load_parquet(folder, "mine").graph.features[:, 0].tolist() == [1, 2, 3, 0.5, 1.5, 2.5]


def test_ids_with_spaces_and_signs_of_any_script_are_read_from_csv(tmp_path):
    ids = ['Ärger, und "mehr"', "北京 市", "a b", "c\nd", "007", "é"]
    edges = {"source": ids, "target": ids[1:] + ids[:1]}
    labels = {"node_id": ids, "label": ["ja", "nein"] * 3}
    changes = {"nodes": {"node_id": ids}, "edges": edges, "labels": labels}
    graph = load_parquet(write_tables(tmp_path / "mine", ".csv", **changes), "mine").graph
    assert graph.node_ids.tolist() == ids
    assert graph.adjacency.nnz == 12


def test_ids_that_are_numbers_in_one_table_only_are_names_in_all(tmp_path):
    nodes = {"node_id": ["7", "8", "9", "a", "b", "c"]}
    edges = {"source": [7, 8], "target": [8, 9]}
    labels = {"node_id": [7, 8], "label": ["x", "y"]}
    folder = write_tables(tmp_path / "mine", ".csv", nodes=nodes, edges=edges, labels=labels)
    assert load_parquet(folder, "mine").graph.adjacency.nnz == 4


@pytest.mark.parametrize(("last", "kind"), [(2**63 - 1, "i"), (2**63, "U")])
def test_the_longest_ids_are_numbers_as_long_as_they_fit(tmp_path, last, kind):
    folder = write_tables(tmp_path / "mine", ".csv", nodes=None, edges=None, labels=None)
    write_table({"node_id": ["1", "2", "3", str(last)], "label": list("abab")}, folder / "nodes.csv")
    write_table({"source": [1, 2], "target": [2, 3]}, folder / "edges.csv")
    assert load_parquet(folder, "mine").graph.node_ids.dtype.kind == kind


def test_a_csv_beside_parquet_has_ids_of_its_types(tmp_path, digest):
    folder = write_tables(tmp_path / "mine", labels=None)
    write_table(TABLES["labels"], folder / "labels.csv")
    assert load_parquet(folder, "mine").sha256 == digest


@pytest.mark.parametrize(
    ("written", "classes"),
    [
        (["10", "9", "", "9", "10"], ("9", "10")),
        (["1.0", "2.0", "", "2.0", "1.0"], ("1", "2")),
        (["007", "8", "", "8", "007"], ("007", "8")),
        (["NA", "EU", "", "EU", "NA"], ("EU", "NA")),
        (["true", "false", "", "true", "true"], ("false", "true")),
        (["2020-01-01", "2021-01-01", "", "2020-01-01", "2020-01-01"], ("2020-01-01", "2021-01-01")),
    ],
)
def test_labels_in_csv_are_as_they_are_written_and_nothing_is_no_label(tmp_path, written, classes):
    folder = write_tables(tmp_path / "mine", ".csv", labels=None)
    rows = [f"{node},{label}" for node, label in zip(IDS, written, strict=False)]
    (folder / "labels.csv").write_text("\n".join(["node_id,label", *rows]))
    graph = load_parquet(folder, "mine").graph
    assert graph.class_names == classes
    assert graph.labels[2] == UNLABELLED


def test_the_index_of_a_data_frame_is_no_feature(tmp_path):
    index = {"__index_level_0__": list(range(6)), "Unnamed: 0": list(range(6)), "": list(range(6))}
    dataset = load_parquet(write_tables(tmp_path / "mine", nodes=index, edges={"": [0] * 7}), "mine")
    assert dataset.graph.num_features == 2
    assert len(dataset.source.unused) == 4
    assert (
        "nodes.parquet: column '__index_level_0__': unnamed, as the index of a data frame is"
        in dataset.source.unused[0]
    )


def refuse(folder, message):
    with pytest.raises(GraphError, match=message) as raised:
        load_parquet(folder, "mine")
    assert str(folder) in str(raised.value)


def test_a_table_that_is_there_twice_is_refused(tmp_path):
    folder = write_tables(tmp_path / "mine")
    write_table(TABLES["nodes"], folder / "nodes.csv")
    refuse(folder, r"found nodes\.parquet and nodes\.csv; wanted one table of nodes")


def test_a_misspelt_table_is_refused_with_the_one_that_is_meant(tmp_path):
    folder = write_tables(tmp_path / "mine", ".csv", edges=None)
    write_table(TABLES["edges"], folder / "edgs.csv")
    refuse(folder, r'unknown tables edgs\.csv; wanted .* did you mean "edges"\?')


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("labels.csv", "", r"labels\.csv: found no readable CSV table \(an empty file\)"),
        ("labels.csv", "node_id,label\n1,2,3\n", "no readable CSV table"),
        ("labels.csv", "node_id, label\n30,a\n", "unknown columns ' label'; wanted node_id, label, split"),
        ("nodes.csv", "node_id,height\n", r"nodes\.csv: found no node"),
        ("labels.csv", "node_id;label\n30;no\n", "columns with ';' between them; wanted commas"),
        ("edges.csv", "source,target\n30,99\n10,98\n10,20\n", r"target\[0\] = 99, .* in 2 of 3 rows"),
        ("labels.csv", "node_id,label,label\n30,1,2\n", "columns label, label, node_id; wanted different"),
    ],
)
def test_a_malformed_csv_is_refused_by_name(tmp_path, name, text, message):
    folder = write_tables(tmp_path / "mine", ".csv")
    (folder / name).write_text(text)
    refuse(folder, message)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "nodes: found nothing; wanted part files"),
        ({"0.csv": {"node_id": [1]}, "1.parquet": {"node_id": [2]}}, "all .parquet or all .csv"),
        (
            {"0.csv": {"node_id": [1]}, "1.csv": {"id": [2]}},
            r"1\.csv: found columns id; wanted node_id, as in",
        ),
        ({"0.parquet": {"node_id": [1]}, "1.parquet": {"node_id": ["a"]}}, "part files that differ"),
    ],
)
def test_part_files_that_do_not_fit_together_are_refused(tmp_path, parts, message):
    folder = write_tables(tmp_path / "mine", nodes=None)
    (folder / "nodes").mkdir()
    for name, columns in parts.items():
        write_table(columns, folder / "nodes" / name)
    refuse(folder, message)
