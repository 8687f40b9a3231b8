"""The benchmark sets that have a name: what their files are and where they lie, known without reading one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from rbm_training.data.public.downloads import Archive, Files

Form = Literal["planetoid", "gnn-benchmark", "ogbn-arxiv", "ogbn-products"]


@dataclass(frozen=True, slots=True)
class PublicSet:
    """A benchmark: its files, the form that they have, and which of them is read, if not the whole folder."""

    files: Files | Archive
    form: Form
    file: str = ""


def _planetoid(title: str) -> PublicSet:
    """A set of Planetoid, in the folders that PyTorch Geometric keeps it in."""
    parts = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
    names = tuple(f"ind.{title.lower()}.{part}" for part in parts)
    url = "https://github.com/kimiyoung/planetoid/raw/master/data"
    return PublicSet(Files(f"{title}/raw", names, url), "planetoid")


def _benchmark(folder: str, file: str) -> PublicSet:
    """The one file of a set of gnn-benchmark, in the folder that PyTorch Geometric keeps it in."""
    url = "https://github.com/shchur/gnn-benchmark/raw/master/data/npz"
    return PublicSet(Files(f"{folder}/raw", (file,), url), "gnn-benchmark", file)


def _ogb(packed: str, form: Form) -> PublicSet:
    """The archive of a set of OGB; its folder gets the name that OGB's own loader gives it."""
    url = f"https://snap.stanford.edu/ogb/data/nodeproppred/{packed}.zip"
    return PublicSet(Archive(f"ogbn_{packed}", packed, url), form)


PUBLIC_SETS: Final[Mapping[str, PublicSet]] = {
    "cora": _planetoid("Cora"),
    "citeseer": _planetoid("CiteSeer"),
    "pubmed": _planetoid("PubMed"),
    "amazon-photo": _benchmark("Photo", "amazon_electronics_photo.npz"),
    "amazon-computers": _benchmark("Computers", "amazon_electronics_computers.npz"),
    "coauthor-cs": _benchmark("CS", "ms_academic_cs.npz"),
    "coauthor-physics": _benchmark("Physics", "ms_academic_phy.npz"),
    "ogbn-arxiv": _ogb("arxiv", "ogbn-arxiv"),
    "ogbn-products": _ogb("products", "ogbn-products"),
}

GENERATED: Final = "permuted-communities"
"""The set that is no benchmark but made on the spot: on which routing has to pay, if it is trained right."""


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
