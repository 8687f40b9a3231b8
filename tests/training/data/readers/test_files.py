import pytest

from rbm_training.data.graph import GraphError
from rbm_training.data.readers.files import graph_files, load_files
from tests.training.data.readers.tables import write_tables
from tests.training.objects import write_npz


@pytest.mark.parametrize("name", ["mine.gml", "mine.mtx", "mine.pkl", "mine", "mine.parquet"])
def test_a_file_that_nobody_reads_is_refused_with_what_is_read(tmp_path, name):
    (tmp_path / name).write_text("graph [ ]")
    with pytest.raises(
        GraphError, match=r"found a file of kind .*; wanted an \.npz, .*\.pt .*\.graphml, .*\.csv"
    ):
        load_files(tmp_path / name)


def test_a_table_alone_is_refused_with_its_folder(tmp_path):
    (tmp_path / "edges.csv").write_text("source,target\n")
    with pytest.raises(GraphError, match=f"of a table, give its folder, {tmp_path}$"):
        load_files(tmp_path / "edges.csv")


def test_nothing_is_refused_with_what_is_read(tmp_path):
    with pytest.raises(GraphError, match=r"none\.gml: found no file or folder; wanted an \.npz"):
        load_files(tmp_path / "none.gml")
    with pytest.raises(GraphError, match=r"found no tables; wanted an \.npz"):
        load_files(tmp_path)


def test_a_folder_of_another_file_is_refused_with_that_file(tmp_path):
    write_npz(tmp_path / "mine.npz")
    with pytest.raises(GraphError, match=r"found no tables, but mine\.npz; wanted"):
        load_files(tmp_path)


def test_graphs_in_a_folder_are_found(tmp_path):
    write_npz(tmp_path / "b.npz")
    (tmp_path / "a.graphml").write_text("")
    (tmp_path / "notes.txt").write_text("")
    assert graph_files(tmp_path) == [tmp_path / "a.graphml", tmp_path / "b.npz"]
    write_tables(tmp_path)
    assert graph_files(tmp_path)[0] == tmp_path
