"""Everything that may be wrong with a bundle: a change to a sound one, and the reason that names it.

Where the check in question lies deeper than the digests, the manifest is written anew so as to agree.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx

from rbm_bundle.manifest import MANIFEST_FILE
from tests.bundles import TINY
from tests.damaged_files import array_of, damaged_archives, damaged_manifests, saved
from tests.damaged_folders import (
    Spoil,
    add_unreadable_name,
    drop_output,
    edit_archive,
    empty,
    flip_bit,
    float_experts,
    halve,
    in_file,
    in_manifest,
    list_file,
    manifest_folder,
    manifest_pipe,
    name_graph,
    put,
    remove,
    repeat_output,
    replace_by_folder,
    replace_by_link,
    with_first,
)
from tests.damaged_graphs import (
    custom_operator,
    edit_model,
    external_data,
    huge_tensor,
    nan_weights,
    rename_output,
    weight_of,
)

GRAPH = "student.grouped.onnx"
FILES = sorted(path.name for path in TINY.iterdir())
PARSED_FILES = [name for name in FILES if name not in (MANIFEST_FILE, "MODEL_CARD.md")]


@dataclass(frozen=True, slots=True)
class Corruption:
    """What is done to a bundle's folder, and what the refusal says; `deep`: only a session can find it."""

    name: str
    spoil: Spoil
    reason: str
    deep: bool = False


def corruptions() -> list[Corruption]:
    """The whole matrix."""
    return [
        *_of_files(),
        *_of_the_folder(),
        *_of_the_manifest(),
        *_of_arrays(),
        *_of_golden_rows(),
        *_of_the_graph(),
    ]


def _of_files() -> Iterator[Corruption]:
    for name in FILES:
        named = name.replace(".", r"\.")
        yield Corruption(f"{name} with one bit flipped", in_file(name, flip_bit), named)
        yield Corruption(f"{name} cut short", in_file(name, halve), named)
        yield Corruption(f"{name} empty", in_file(name, empty), named)
        yield Corruption(f"{name} missing", partial(remove, name), named)
    for name in PARSED_FILES:
        reason = name.replace(".", r"\.") + r": .*, got (an empty file|.*no readable|\d+ bytes too few)"
        yield Corruption(f"{name} cut short, as listed", in_file(name, halve, listed=True), reason)
        yield Corruption(f"{name} empty, as listed", in_file(name, empty, listed=True), reason)


def _of_the_folder() -> Iterator[Corruption]:
    yield Corruption("a file too many", lambda folder: (folder / "run.sh").touch(), r"run\.sh besides")
    yield Corruption("a link for a file", replace_by_link, r"positions\.npy: .*, got a link")
    yield Corruption("a folder for a file", replace_by_folder, r"positions\.npy: .*, got a link or folder")
    yield Corruption("a name that is no UTF-8", add_unreadable_name, r"got a\\udcff besides")


def _of_the_manifest() -> Iterator[Corruption]:
    def sealed(name: str, edit: Callable[[dict[str, Any]], object], reason: str) -> Corruption:
        return Corruption(name, in_manifest(edit), reason)

    yield Corruption("another id", in_file(MANIFEST_FILE, lambda raw: raw + b" "), "expected bundle_id")
    yield sealed(
        "a wrong digest", lambda found: found["files"]["positions.npy"].update(sha256="0" * 64), "sha256"
    )
    yield sealed("a later format", lambda found: found.update(format_version=3), "format_version 3")
    yield sealed("an unknown field", lambda found: found.update(run="rm"), "run: Extra inputs")
    yield sealed("a label too few", lambda found: found["labels"].pop(), r"logits .* \(None, 3\), elsewhere")
    yield sealed("no label at all", lambda found: found.pop("labels"), "labels: Field required")
    yield sealed("a file above", lambda found: list_file(found, "../weights"), r"no \.\./weights")
    yield sealed("a file elsewhere", lambda found: list_file(found, "/etc/passwd"), "no /etc/passwd")
    yield sealed(
        "a graph above", lambda found: name_graph(found, "../x.onnx"), r"\.\./x\.onnx without a digest"
    )
    yield sealed(
        "a graph that is none", lambda found: name_graph(found, "golden.npz"), r"golden\.npz: .* named"
    )
    for output in ("logits", "probabilities", "experts", "weights", "similarity"):
        yield sealed(f"a graph without {output}", partial(drop_output, output), f"no {output}, elsewhere")
    yield sealed("experts that are numbers", float_experts, r"experts float32 .*, elsewhere experts int64")
    yield sealed("an output twice", repeat_output, r"cpu graph: logits .*, logits .*, elsewhere")
    for name, change, reason in damaged_manifests():
        yield Corruption(name, in_file(MANIFEST_FILE, change), rf"manifest\.json: .*{reason}")
    yield Corruption("a folder for a manifest", manifest_folder, r"manifest\.json: .*not a plain file")
    yield Corruption("a pipe for a manifest", manifest_pipe, r"manifest\.json: .*not a plain file")
    yield sealed("no graph for the device", lambda found: found["graphs"].pop("cpu"), "a graph for cpu")
    yield sealed("nodes beyond any disk", lambda found: found["nodes"].update(num_nodes=2**60), "positions")


def _of_arrays() -> Iterator[Corruption]:
    def changed(name: str, file: str, change: Callable[[np.ndarray], np.ndarray], reason: str) -> Corruption:
        return Corruption(
            name, in_file(file, lambda raw: saved(change(np.load(io.BytesIO(raw)))), True), reason
        )

    ids, positions, features = "node_ids.npy", "positions.npy", "features.dense.npy"
    yield changed("a position too few", positions, lambda rows: rows[:-1], r"float32 of shape \(20, 4\)")
    yield changed("an id too few", ids, lambda rows: rows[:-1], r"expected integer of shape \(20\)")
    yield changed("unsorted ids", ids, lambda rows: rows[::-1].copy(), "ids out of order")
    yield changed("an id twice", ids, lambda rows: np.maximum(rows, rows[1]), "or repeated")
    yield changed("ids that are numbers", ids, lambda rows: rows.astype(float), "got float64 of shape")
    yield changed("ids that are pickled", ids, lambda rows: rows.astype(object), "got object of shape")
    yield changed(
        "a position that is NaN", positions, lambda rows: with_first(rows, np.nan), "numbers up to nan"
    )
    yield changed("an infinite feature", features, lambda rows: with_first(rows, np.inf), "numbers up to inf")
    for num_rows in (2**40, 2**60):  # the bytes of the latter are more than 64 bits can count
        huge = in_file(positions, lambda _, num_rows=num_rows: array_of(num_rows), listed=True)
        yield Corruption(f"{num_rows} positions", huge, r"positions\.npy: expected .*, got float32 of shape")


def _of_golden_rows() -> Iterator[Corruption]:
    def changed(
        name: str, edit: Callable[[dict[str, Any]], object], reason: str, deep: bool = False
    ) -> Corruption:
        return Corruption(name, in_file("golden.npz", partial(edit_archive, edit), True), reason, deep)

    def scale(rows: dict[str, Any], factor: float) -> None:
        rows["logits"] = rows["logits"] * np.float32(factor)

    def drop_last(rows: dict[str, Any]) -> None:
        rows.update({name: array[:-1] for name, array in rows.items()})

    yield changed("no golden logits", lambda rows: rows.pop("logits"), r"golden\.npz: .*, got arrays")
    yield changed("a golden row too few", drop_last, r"golden\.npz: .*, got .* \(20, 12\)")
    yield changed("answers of another model", lambda rows: scale(rows, 2), "relative logits error", True)
    yield changed("golden rows that are NaN", lambda rows: scale(rows, np.nan), "logits that are not finite")
    yield changed("golden gaps that are NaN", lambda rows: rows["routing_gap"].fill(np.nan), "_gap that are")
    yield changed("golden logits of no dimension", put(np.array(1, "f4")), r"logits as float32 of shape \(\)")
    yield changed("golden logits of text", put(np.full((21, 3), "1")), "logits as <U1")
    yield changed("golden logits of objects", put(np.full((21, 3), None)), "logits as object")
    yield changed("golden logits of float64", put(np.zeros((21, 3))), "logits as float64")
    yield changed("golden logits of another width", put(np.zeros((21, 4), "f4")), r"of shape \(21, 4\)")
    yield changed("a golden array too many", lambda rows: rows.update(x=rows["logits"]), "weights, x")
    for name, archive, reason in damaged_archives():
        yield Corruption(name, in_file("golden.npz", archive, True), r"golden\.npz: .*" + reason)


def _of_the_graph() -> Iterator[Corruption]:
    def changed(
        name: str, edit: Callable[[onnx.ModelProto], object], reason: str, deep: bool = True
    ) -> Corruption:
        return Corruption(name, in_file(GRAPH, partial(edit_model, edit), True), reason, deep)

    yield Corruption(
        "a program for a graph", in_file(GRAPH, lambda _: b"\x7fELF" * 99, True), "no protobuf field"
    )
    yield changed("a custom operator", custom_operator, "'com.example'", deep=False)
    yield changed("data in another file", external_data, "data lie in another file", deep=False)
    yield changed("a later opset", lambda model: setattr(model.opset_import[0], "version", 999), GRAPH)
    yield changed("an unknown operator", lambda model: setattr(model.graph.node[0], "op_type", "Run"), GRAPH)
    yield changed("an output of another name", rename_output, "grouped.onnx: expected .*, got outputs")
    yield changed("weights that are NaN", nan_weights, "that are not finite")
    yield changed("a weight larger than its data", lambda model: weight_of(model).dims.append(2**40), GRAPH)
    yield changed("a tensor beyond memory", huge_tensor, "CPUExecutionProvider|ONNX Runtime refuses")
