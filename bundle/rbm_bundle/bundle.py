"""A bundle: the folder that training writes and the service reads, whole or not at all."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rbm_bundle.errors import BundleError
from rbm_bundle.folders import incoming_folder, read_small_file, sync_folder, write_synced
from rbm_bundle.golden import GoldenRows, read_golden
from rbm_bundle.golden_records import GoldenRecords, read_golden_records
from rbm_bundle.manifest import MANIFEST_FILE, Manifest, parse_manifest, seal
from rbm_bundle.manifest_parts import FileEntry, Provider
from rbm_bundle.node_map import NodeMap, read_node_map
from rbm_bundle.nodes import NodeTable, node_table_arrays, open_node_table
from rbm_bundle.onnx_file import RECORD_DOMAINS, check_onnx_file

MODEL_CARD_FILE = "MODEL_CARD.md"
GOLDEN_FILE = "golden.npz"
MAX_MANIFEST_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle: its manifest, its mapped node table, and where some of the nodes lie, if it says."""

    path: Path
    manifest: Manifest
    nodes: NodeTable
    node_map: NodeMap | None

    def graph_path(self, provider: Provider) -> Path:
        """The ONNX graph for an execution provider.

        Raises:
            BundleError: the bundle has none for it.
        """
        entry = self.manifest.graphs.get(provider)
        if entry is None:
            have = ", ".join(self.manifest.graphs) or "none"
            raise BundleError(self.path / MANIFEST_FILE, f"graphs for {have}", f"a graph for {provider}")
        return self.path / entry.file

    def golden(self) -> GoldenRows:
        """The rows with which a session proves itself.

        Raises:
            BundleError: they are not what the manifest promises.
        """
        return read_golden(self.path / self.manifest.golden.file, self.manifest)

    def model_card(self) -> bytes | None:
        """What the bundle tells people, as Markdown, its student called as it is now; None where it holds no
        model card."""
        if MODEL_CARD_FILE not in self.manifest.files:
            return None
        student = self.manifest.architecture.student
        card = (self.path / MODEL_CARD_FILE).read_bytes()
        return card.replace(f"(`{student.removesuffix('-head')}`)".encode(), f"(`{student}`)".encode())

    def golden_records(self) -> GoldenRecords | None:
        """The records with which their graph proves itself; None where the bundle takes no records.

        Raises:
            BundleError: they are not what the manifest promises.
        """
        spec = self.manifest.records
        return None if spec is None else read_golden_records(self.path / spec.golden_file, spec)


@dataclass(frozen=True, slots=True)
class BundleDraft:
    """What a bundle is made of, before digests: graphs are file name → serialised ONNX, that of records among
    them."""

    manifest: Manifest
    graphs: dict[str, bytes]
    nodes: NodeTable
    golden: GoldenRows
    model_card: str
    golden_records: GoldenRecords | None = None
    node_map: NodeMap | None = None


def write_bundle(folder: Path, draft: BundleDraft) -> Bundle:
    """Write a bundle; `folder` appears complete or, whatever happens, not at all.

    Raises:
        BundleError: `folder` exists already.
    """
    if folder.exists():
        raise BundleError(folder, "a folder", "a new path (a bundle is never overwritten)")
    with incoming_folder(folder.parent) as incoming:
        files = {}
        for name, content in _contents(draft):
            write_synced(incoming / name, content)
            digest = hashlib.sha256(content).hexdigest()
            files[name] = FileEntry(size_bytes=len(content), sha256=digest)
        write_synced(incoming / MANIFEST_FILE, seal(draft.manifest.model_copy(update={"files": files})))
        sync_folder(incoming)
        written = read_bundle(incoming)
        written.golden()
        written.golden_records()
        incoming.rename(folder)
    sync_folder(folder.parent)
    return read_bundle(folder)


def read_bundle(folder: Path) -> Bundle:
    """Open a bundle after checking every byte of it against the manifest.

    Raises:
        BundleError: no manifest, an unknown format, a file missing, added or altered, a graph that holds
            more than a student needs, or arrays that are not what the manifest promises.
    """
    manifest = read_manifest(folder)
    try:
        _check_files(folder, manifest)
        for graph in manifest.graphs.values():
            check_onnx_file(folder / graph.file)
        if manifest.records is not None:
            check_onnx_file(folder / manifest.records.file, RECORD_DOMAINS)
    except OSError as error:
        raise BundleError(
            error.filename or folder, f"nothing readable ({error.strerror})", "files of a bundle"
        ) from error
    spec = manifest.map
    node_map = None if spec is None else read_node_map(folder / spec.file, manifest, spec)
    return Bundle(folder, manifest, open_node_table(folder, manifest), node_map)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle alone, checked against itself; its files are not looked at.

    Raises:
        BundleError: there is none, or it is not what it should be.
    """
    path = folder / MANIFEST_FILE
    if path.is_symlink():
        raise BundleError(path, "a link", "a plain file")
    try:
        raw = read_small_file(path, MAX_MANIFEST_BYTES)
    except OSError as error:
        raise BundleError(path, f"nothing readable ({error.strerror})", "the manifest of a bundle") from error
    return parse_manifest(raw, str(path))


def _contents(draft: BundleDraft) -> list[tuple[str, bytes]]:
    arrays = []
    for name, array in node_table_arrays(draft.nodes).items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        arrays.append((name, buffer.getvalue()))
    golden = (GOLDEN_FILE, draft.golden.to_bytes())
    files = [*draft.graphs.items(), *arrays, golden, (MODEL_CARD_FILE, draft.model_card.encode())]
    if draft.golden_records is not None and draft.manifest.records is not None:
        files.append((draft.manifest.records.golden_file, draft.golden_records.to_bytes()))
    if draft.node_map is not None and draft.manifest.map is not None:
        files.append((draft.manifest.map.file, draft.node_map.to_bytes()))
    return files


def _check_files(folder: Path, manifest: Manifest) -> None:
    present = {entry.name for entry in folder.iterdir()} - {MANIFEST_FILE}
    listed = set(manifest.files)
    if missing := sorted(listed - present):
        raise BundleError(folder, f"no {', '.join(missing)}", "every file that the manifest lists")
    if unlisted := sorted(present - listed):
        raise BundleError(folder, f"{', '.join(unlisted)} besides", "only files that the manifest lists")
    named = {graph.file for graph in manifest.graphs.values()} | {manifest.golden.file}
    if manifest.records is not None:
        named |= {manifest.records.file, manifest.records.golden_file}
    if manifest.map is not None:
        named.add(manifest.map.file)
    if undigested := sorted(named - listed):
        raise BundleError(
            folder / MANIFEST_FILE, f"{', '.join(undigested)} without a digest", "a digest for each file"
        )
    for name, entry in manifest.files.items():
        _check_file(folder / name, entry)


def _check_file(path: Path, entry: FileEntry) -> None:
    if path.is_symlink() or not path.is_file():
        raise BundleError(path, "a link or folder", "a plain file")
    size = path.stat().st_size
    if size != entry.size_bytes:
        raise BundleError(path, f"{size} bytes", f"{entry.size_bytes} bytes")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != entry.sha256:
        raise BundleError(path, f"sha256 {digest[:12]}…", f"sha256 {entry.sha256[:12]}…")
