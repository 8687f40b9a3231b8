"""A file of another kind, or in another encoding, is refused with what it holds and how to convert it."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rbm_training.data.graph import GraphError
from rbm_training.data.readers.files import load_files
from tests.training.data.readers.tables import IDS, write_tables
from tests.training.objects import write_npz

TEXT = "node_id,größe\n30,1\n10,2\n"
LATIN_1 = "; wanted text in UTF-8, as `iconv -f WINDOWS-1252 -t UTF-8` makes it"


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("nodes", TEXT.encode("latin-1"), f"byte 0xf6 in line 1, which is no UTF-8{LATIN_1}"),
        ("nodes", b"node_id,word\n30,a\n10,\xe4\n", f"byte 0xe4 in line 3, which is no UTF-8{LATIN_1}"),
        ("labels", b"node_id,label\n30,\xe4\n", f"byte 0xe4 in line 2, which is no UTF-8{LATIN_1}"),
        ("nodes", TEXT.encode("utf-16"), "text in UTF-16; wanted text in UTF-8, as `iconv -f UTF-16 "),
        ("nodes", gzip.compress(TEXT.encode(), mtime=0), r"no readable CSV table \(packed with gzip\)"),
        ("nodes", b"PAR1\x00\x00\x00", r"no readable CSV table \(Parquet\)"),
        ("nodes", b"", r"no readable CSV table \(an empty file\)"),
    ],
)
def test_a_csv_that_is_none_in_utf_8_is_told_how_to_become_one(tmp_path, table, content, message):
    folder = write_tables(tmp_path / "mine", ".csv")
    (folder / f"{table}.csv").write_bytes(content)
    with pytest.raises(GraphError, match=rf"{table}\.csv: found {message}"):
        load_files(folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda raw: raw[:-40], "damaged, or of another content: "),
        (gzip.compress, "packed with gzip"),
        (lambda raw: raw[4:], "another kind of file"),
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_binary_file_that_is_damaged_or_of_another_kind_is_told_apart(tmp_path, suffix, change, reason):
    folder = write_tables(tmp_path / "mine")
    file = graph = folder / "nodes.parquet"
    if suffix == ".npz":
        file = graph = tmp_path / "mine.npz"
        write_npz(file)
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(GraphError, match=rf"{file.name}: found no readable .* \({reason}"):
        load_files(folder if suffix == ".parquet" else graph)


def test_a_table_that_is_packed_is_not_overlooked(tmp_path):
    folder = write_tables(tmp_path / "mine", ".csv")
    (folder / "nodes.csv").rename(folder / "nodes.csv.gz")
    with pytest.raises(GraphError, match=r"mine: found table nodes\.csv\.gz; wanted it unpacked"):
        load_files(folder)


def test_a_blank_id_is_refused_in_a_table_and_in_an_array(tmp_path):
    names = [*map(str, IDS[:-1]), " "]
    folder = write_tables(tmp_path / "mine", nodes={"node_id": names})
    with pytest.raises(GraphError, match=r"nodes\.parquet: found node_id\[5\] = ' '; wanted a name"):
        load_files(folder)
    write_npz(tmp_path / "mine.npz", node_ids=np.array(names))
    with pytest.raises(GraphError, match=r"mine\.npz: found node_ids\[5\] = ' '; wanted a name"):
        load_files(tmp_path / "mine.npz")


@pytest.mark.parametrize("label", ["", "  "])
def test_a_blank_label_is_refused(tmp_path, label):
    folder = write_tables(tmp_path / "mine")
    pq.write_table(pa.table({"node_id": IDS[:2], "label": ["a", label]}), folder / "labels.parquet")
    with pytest.raises(GraphError, match=rf"labels\.parquet: found label\[1\] = '{label}'; wanted the name"):
        load_files(folder)
