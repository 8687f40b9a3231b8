"""Benchmark graphs by name."""

from pathlib import Path

from rbm_training.datasets.dataset import Dataset
from rbm_training.datasets.npz import load_npz
from rbm_training.graph import GraphError


def load_named(name: str, root: Path) -> Dataset:
    """A benchmark graph as its papers use it."""
    path = root / f"{name}.npz"
    if not path.is_file():
        have = ", ".join(sorted(entry.stem for entry in root.glob("*.npz"))) or "no .npz file"
        raise GraphError(f"dataset {name!r}", f"{have} in {root}", f"{name}.npz")
    dataset = load_npz(path, name)
    return dataset if dataset.published is not None else dataset.largest_component()
