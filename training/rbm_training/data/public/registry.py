"""Benchmark graphs by name: one `.npz` in our form, or the files as their publishers give them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from rbm_training.data.builtin.permuted import generate_permuted_graph
from rbm_training.data.dataset import Dataset
from rbm_training.data.graph import GraphError
from rbm_training.data.public.catalogue import GENERATED, PUBLIC_SETS, Form, PublicSet, list_named, npz_path
from rbm_training.data.public.downloads import DownloadError
from rbm_training.data.public.gnn_benchmark import read_benchmark
from rbm_training.data.public.ogb import read_arxiv, read_products
from rbm_training.data.public.planetoid import read_planetoid
from rbm_training.data.readers.npz import load_npz
from rbm_training.errors import suggestion

_READERS: Final[Mapping[Form, Callable[[Path, str], Dataset]]] = {
    "planetoid": read_planetoid,
    "gnn-benchmark": read_benchmark,
    "ogbn-arxiv": read_arxiv,
    "ogbn-products": read_products,
}

GENERATED_SEED: Final = 0


def load_named(name: str, root: Path) -> Dataset:
    """A benchmark graph as its papers use it: without a public split, only the largest component.

    Raises:
        GraphError: an unknown name, files that are neither there nor to be had, or a malformed one.
    """
    path = npz_path(name, root)
    dataset = load_npz(path, name) if path.is_file() else _public(name, root)
    return dataset if dataset.published is not None else dataset.largest_component()


def _public(name: str, root: Path) -> Dataset:
    if name == GENERATED:
        return Dataset(generate_permuted_graph(GENERATED_SEED))
    if name not in PUBLIC_SETS:
        named = [*PUBLIC_SETS, GENERATED]
        raise GraphError(
            f"dataset {name!r}",
            f"no {npz_path(name, root)}, nor such a public set",
            f"that file, or {', '.join(named)}{suggestion(name, [*list_named(root), GENERATED])}",
        )
    return fetch_and_read(PUBLIC_SETS[name], name, root)


def fetch_and_read(public: PublicSet, name: str, root: Path) -> Dataset:
    """Read a public set, after a download if need be.

    Raises:
        GraphError: its files are neither there nor to be had, or one is malformed.
    """
    folder = public.files.path(root)
    if not public.files.is_present(root):
        try:
            public.files.fetch(root)
        except DownloadError as error:
            raise GraphError(
                f"dataset {name!r}",
                f"neither {npz_path(name, root)} nor the files in {folder}, and no download ({error})",
                "either of them, or a network to fetch the files with",
            ) from error
    return _READERS[public.form](folder / public.file, name)
