"""A user's own graph, whichever file or folder it is in."""

from pathlib import Path
from typing import Final

from rbm_training.config import FeaturesConfig
from rbm_training.config.features import AS_GUESSED
from rbm_training.data.dataset import Dataset
from rbm_training.data.graph import GraphError
from rbm_training.data.readers.npz import load_npz
from rbm_training.data.readers.parquet import load_parquet
from rbm_training.data.readers.pyg import load_pyg
from rbm_training.data.readers.split_column import SplitColumn
from rbm_training.data.readers.table_files import SUFFIXES, find_tables


def load_files(
    path: Path, features: FeaturesConfig = AS_GUESSED, split_column: SplitColumn | None = None
) -> Dataset:
    """Read and check a graph, named as its file or folder.

    Args:
        features: what the columns of tables are taken for.
        split_column: by which nodes are divided.

    Raises:
        GraphError: there is none, nobody reads its kind, or it is malformed.
    """
    name = path.absolute().stem  # absolute: "." has a name too
    if path.is_dir():
        _check_folder(path)
        return load_parquet(path, name, features, split_column)
    load = _READERS.get(path.suffix.lower())
    if load is None:
        found = f"a file of kind {path.suffix or 'unknown'}" if path.exists() else "no file or folder"
        as_table = f"; of a table, give its folder, {path.parent}" if path.suffix in SUFFIXES else ""
        raise GraphError(str(path), found, FORMATS + as_table)
    return load(path, name, split_column)


def graph_files(folder: Path) -> list[Path]:
    """What in a folder may be a graph: the folder itself if it holds tables, and files of a known kind.

    Raises:
        GraphError: a table that nobody reads, or one that is there twice.
    """
    tables = [folder] if find_tables(folder) else []
    return tables + sorted(path for path in folder.iterdir() if path.suffix.lower() in _READERS)


def _check_folder(folder: Path) -> None:
    found = graph_files(folder)
    if folder not in found:
        files = ", ".join(path.name for path in found)
        raise GraphError(str(folder), f"no tables{files and f', but {files}'}", FORMATS)


def _load_graphml(path: Path, name: str, split_column: SplitColumn | None) -> Dataset:
    from rbm_training.data.readers.networkx_files import load_graphml  # NetworkX takes its time to import

    return load_graphml(path, name, split_column)


def _load_node_link(path: Path, name: str, split_column: SplitColumn | None) -> Dataset:
    from rbm_training.data.readers.networkx_files import load_node_link

    return load_node_link(path, name, split_column)


_READERS: Final = {
    ".npz": load_npz,
    ".pt": load_pyg,
    ".graphml": _load_graphml,
    ".json": _load_node_link,
}
FORMATS: Final = (
    "an .npz, a .pt of PyTorch Geometric, a .graphml, a node-link .json, or a folder of nodes, edges and"
    " labels as .parquet or .csv"
)
