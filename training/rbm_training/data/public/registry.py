"""Benchmark graphs by name: one `.npz` in our form, or the files as their publishers give them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rbm_training.data.dataset import Dataset
from rbm_training.data.graph import GraphError
from rbm_training.data.public.downloads import Archive, DownloadError, Files
from rbm_training.data.public.gnn_benchmark import benchmark_files, read_benchmark
from rbm_training.data.public.ogb import ogb_archive, read_arxiv, read_products
from rbm_training.data.public.planetoid import planetoid_files, read_planetoid
from rbm_training.data.readers.npz import load_npz


@dataclass(frozen=True, slots=True)
class PublicSet:
    """A benchmark: its files, and how the folder that holds them is read."""

    files: Files | Archive
    read: Callable[[Path, str], Dataset]


def _planetoid(title: str) -> PublicSet:
    return PublicSet(planetoid_files(title), read_planetoid)


def _benchmark(folder: str, file: str) -> PublicSet:
    return PublicSet(benchmark_files(folder, file), lambda path, name: read_benchmark(path / file, name))


PUBLIC_SETS: Final = {
    "cora": _planetoid("Cora"),
    "citeseer": _planetoid("CiteSeer"),
    "pubmed": _planetoid("PubMed"),
    "amazon-photo": _benchmark("Photo", "amazon_electronics_photo.npz"),
    "amazon-computers": _benchmark("Computers", "amazon_electronics_computers.npz"),
    "coauthor-cs": _benchmark("CS", "ms_academic_cs.npz"),
    "coauthor-physics": _benchmark("Physics", "ms_academic_phy.npz"),
    "ogbn-arxiv": PublicSet(ogb_archive("arxiv"), read_arxiv),
    "ogbn-products": PublicSet(ogb_archive("products"), read_products),
}


def load_named(name: str, root: Path) -> Dataset:
    """A benchmark graph as its papers use it: without a public split, only the largest component.

    Raises:
        GraphError: an unknown name, files that are neither there nor to be had, or a malformed one.
    """
    path = npz_path(name, root)
    dataset = load_npz(path, name) if path.is_file() else _public(name, root)
    return dataset if dataset.published is not None else dataset.largest_component()


def list_named(root: Path) -> dict[str, Path | None]:
    """Every set that can be named, and where it would be read from; None: from its publisher."""
    places: dict[str, Path | None] = dict.fromkeys(PUBLIC_SETS)
    for name, public in PUBLIC_SETS.items():
        if public.files.is_present(root):
            places[name] = public.files.path(root)
    return places | {path.stem: path for path in sorted(root.glob("*.npz"))}


def npz_path(name: str, root: Path) -> Path:
    """The file in our form that is read before any other."""
    return root / f"{name}.npz"


def _public(name: str, root: Path) -> Dataset:
    if name not in PUBLIC_SETS:
        known = ", ".join(PUBLIC_SETS)
        raise GraphError(
            f"dataset {name!r}", f"no {npz_path(name, root)}, nor such a public set", f"that file, or {known}"
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
    return public.read(folder, name)
