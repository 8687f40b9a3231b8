"""What callers notice when one version of a model follows another, in lines for the operator."""

from collections.abc import Sequence
from typing import Final

from rbm_bundle.manifest import Manifest

MAX_NAMES: Final = 5  # of a list in a line


def twin_note(version: int) -> str:
    """The line on a bundle that is published already."""
    return f"the same as version {version}, byte for byte"


def notes_on(manifest: Manifest, former: Manifest, former_version: int) -> list[str]:
    """What a bundle takes or answers otherwise than the version that it follows, a line each.

    Weights, positions and known nodes differ from training to training and are not told.
    """
    if manifest.bundle_id == former.bundle_id:
        return [twin_note(former_version)]
    lines = [
        *_names("classes", manifest.labels, former.labels),
        *_names("feature columns", manifest.features.names or (), former.features.names or ()),
        *_num_features(manifest, former),
        *_fields(manifest, former),
        *_id_kind(manifest, former),
    ]
    return [f"unlike version {former_version}: {line}" for line in lines]


def _names(what: str, names: Sequence[str], former: Sequence[str]) -> list[str]:
    gone = [name for name in former if name not in names]
    added = [name for name in names if name not in former]
    parts = [f"{word} {_listed(some)}" for word, some in (("without", gone), ("with", added)) if some]
    if not parts and tuple(names) != tuple(former):
        parts = ["in another order"]
    return [f"{what} {' and '.join(parts)}"] if parts else []


def _num_features(manifest: Manifest, former: Manifest) -> list[str]:
    """Told where callers count features: those made of records change with the words of a training."""
    F, former_F = manifest.features.num_features, former.features.num_features
    if manifest.records or former.records or former_F == F:
        return []
    return [f"{F} features instead of {former_F}"]


def _fields(manifest: Manifest, former: Manifest) -> list[str]:
    kinds, former_kinds = _kinds(manifest), _kinds(former)
    changed = [
        f"record field {name!r} of kind {kind} instead of {former_kinds[name]}"
        for name, kind in kinds.items()
        if former_kinds.get(name, kind) != kind
    ]
    return [*_names("record fields", sorted(kinds), sorted(former_kinds)), *changed]


def _kinds(manifest: Manifest) -> dict[str, str]:
    return {} if manifest.records is None else {each.name: each.kind for each in manifest.records.columns}


def _id_kind(manifest: Manifest, former: Manifest) -> list[str]:
    """Told where numbers became strings, or strings numbers; `range` and `integer` are both numbers."""
    kind, former_kind = manifest.nodes.id_kind, former.nodes.id_kind
    if (kind == "string") == (former_kind == "string"):
        return []
    return [f"node ids of kind {kind} instead of {former_kind}"]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:MAX_NAMES]))
    return shown if len(names) <= MAX_NAMES else f"{shown} and {len(names) - MAX_NAMES} more"
