"""Changes to the folder of a bundle: to its files, to its manifest, to the arrays in a file."""

import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rbm_bundle.manifest import MANIFEST_FILE, UNSEALED
from tests.damaged_files import Change

Spoil = Callable[[Path], object]


def in_file(name: str, change: Change, listed: bool = False) -> Spoil:
    """A changed file; `listed`: with the size and digest that the manifest says."""

    def spoil(folder: Path) -> None:
        content = change((folder / name).read_bytes())
        (folder / name).write_bytes(content)
        if listed:
            entry = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            in_manifest(lambda found: found["files"].update({name: entry}))(folder)

    return spoil


def in_manifest(edit: Callable[[dict[str, Any]], object]) -> Spoil:
    """A changed manifest whose id is right."""

    def spoil(folder: Path) -> None:
        found = json.loads((folder / MANIFEST_FILE).read_bytes())
        edit(found)
        raw = json.dumps(found | {"bundle_id": UNSEALED}).encode()
        digest = hashlib.sha256(raw).hexdigest().encode()
        (folder / MANIFEST_FILE).write_bytes(raw.replace(UNSEALED.encode(), digest, 1))

    return spoil


def flip_bit(raw: bytes) -> bytes:
    middle = len(raw) // 2
    return raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :]


def halve(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def empty(raw: bytes) -> bytes:
    return b""


def remove(name: str, folder: Path) -> None:
    (folder / name).unlink()


def replace_by_link(folder: Path) -> None:
    target = (folder / "positions.npy").rename(folder.parent / f"positions-of-{folder.name}")
    (folder / "positions.npy").symlink_to(target)


def replace_by_folder(folder: Path) -> None:
    (folder / "positions.npy").unlink()
    (folder / "positions.npy").mkdir()


def list_file(found: dict[str, Any], name: str) -> None:
    found["files"][name] = found["files"]["positions.npy"]


def name_graph(found: dict[str, Any], name: str) -> None:
    found["graphs"]["cpu"]["file"] = name


def with_first(rows: np.ndarray, value: float) -> np.ndarray:
    rows[0, 0] = value
    return rows


def edit_archive(edit: Callable[[dict[str, Any]], object], raw: bytes) -> bytes:
    rows = dict(np.load(io.BytesIO(raw)))
    edit(rows)
    buffer = io.BytesIO()
    np.savez(buffer, **rows)
    return buffer.getvalue()


def put(logits: np.ndarray) -> Callable[[dict[str, Any]], object]:
    return lambda rows: rows.update(logits=logits)


def drop_output(name: str, found: dict[str, Any]) -> None:
    graph = found["graphs"]["cpu"]
    graph["outputs"] = [output for output in graph["outputs"] if output["name"] != name]


def float_experts(found: dict[str, Any]) -> None:
    found["graphs"]["cpu"]["outputs"][2]["dtype"] = "float32"


def repeat_output(found: dict[str, Any]) -> None:
    found["graphs"]["cpu"]["outputs"].append(found["graphs"]["cpu"]["outputs"][0])


def manifest_folder(folder: Path) -> None:
    (folder / MANIFEST_FILE).unlink()
    (folder / MANIFEST_FILE).mkdir()


def manifest_pipe(folder: Path) -> None:
    (folder / MANIFEST_FILE).unlink()
    os.mkfifo(folder / MANIFEST_FILE)


def add_unreadable_name(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder / "a") + b"\xff")).touch()
