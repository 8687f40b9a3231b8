"""What every source of graphs is held to; each check tells its mistake in the source's own words.

`source` is the file, `what` the array or column in it.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from rbm_bundle.nodes import MAX_MAGNITUDE
from rbm_training.data.graph import UNLABELLED, Floats, GraphError, Integers

MAX_NODE_ID: Final = 2**63 - 1


def check_numbers(source: str, what: str, values: npt.NDArray[Any]) -> Floats:
    """Numbers of any shape as float32.

    Raises:
        GraphError: one is not finite, or out of range.
    """
    in_range = not values.size or (
        float(values.min()) >= -MAX_MAGNITUDE and float(values.max()) <= MAX_MAGNITUDE
    )
    if not in_range:  # a NaN is out of range as well
        good = np.abs(values.astype(np.float64)) <= MAX_MAGNITUDE
        place = [int(index) for index in np.argwhere(~good)[0]]
        raise GraphError(
            source, f"{what}{place} = {values[tuple(place)]}", f"finite numbers within ±{MAX_MAGNITUDE:.0e}"
        )
    return values.astype(np.float32, copy=False)


def check_shape(source: str, what: str, num_nodes: int, num_features: int) -> None:
    """Refuse a graph without nodes, or nodes without features."""
    if min(num_nodes, num_features) < 1:
        raise GraphError(
            source, f"{what} of shape ({num_nodes}, {num_features})", "at least one node and one feature"
        )


def check_sparse(source: str, what: str, features: sp.csr_array) -> sp.csr_array:
    """Sparse features (N, F) with the columns of each row in order.

    Raises:
        GraphError: a row names a column twice.
    """
    features.sort_indices()
    rows = np.repeat(np.arange(features.shape[0]), np.diff(features.indptr))
    twice = (np.diff(rows) == 0) & (np.diff(features.indices) == 0)
    if twice.any():
        place = int(np.flatnonzero(twice)[0])
        raise GraphError(
            source, f"{what} with column {features.indices[place]} twice in row {rows[place]}", "it once"
        )
    return features


def check_nodes(source: str, what: str, nodes: npt.NDArray[np.integer], num_nodes: int) -> None:
    """Refuse node numbers outside 0..N-1, be they edges (2, M) or a list (M,)."""
    outside = (nodes < 0) | (nodes >= num_nodes)
    if outside.any():
        first = int(np.flatnonzero(np.atleast_2d(outside).any(axis=0))[0])
        raise GraphError(
            source,
            f"{what} column {first} = {nodes[..., first].tolist()}",
            f"node numbers 0..{num_nodes - 1}",
        )


def check_labels(source: str, what: str, labels: Integers, names: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the classes that the labels (N,) number; without `names`, the numbers.

    Raises:
        GraphError: no label, a label below -1, a class without labels or a name, too few or equal names.
    """
    if labels.min() < UNLABELLED:
        raise GraphError(
            source, f"{what} with a value {labels.min()}", "classes from 0, or -1 for unlabelled"
        )
    used = np.unique(labels[labels != UNLABELLED])
    if not len(used):
        raise GraphError(source, f"{what} without a single label", "labels for some nodes")
    if names is not None and (len(names) <= used[-1] or len(set(names)) < len(names)):
        raise GraphError(
            source,
            f"{len(names)} class_names ({len(set(names))} different)",
            f"different names for classes 0..{used[-1]}",
        )
    num_classes = len(used) if names is None else len(names)
    skipped = np.setdiff1d(np.arange(num_classes), used)
    if names is None and len(skipped):
        wanted = "class_names, or at least one label for each class"
        raise GraphError(source, f"class '{skipped[0]}' without labels", wanted)
    if num_classes < 2:
        raise GraphError(source, "one class", "at least two")
    return tuple(names if names is not None else map(str, range(num_classes)))


def check_ids(source: str, what: str, ids: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Node ids (N,) as int64 or text.

    Raises:
        GraphError: an id that comes twice, is no text or is too large.
    """
    if ids.dtype.kind in "US":
        ids = np.array(check_text(source, what, ids.tolist()), np.str_)
    elif ids.dtype.kind == "u" and ids.max(initial=0) > MAX_NODE_ID:
        raise GraphError(source, f"node id {ids.max()}", f"integers up to {MAX_NODE_ID}, or text")
    else:
        ids = ids.astype(np.int64)
    check_distinct(source, what, ids)
    return ids


def check_distinct(source: str, what: str, ids: npt.NDArray[Any]) -> None:
    """Refuse an id that comes twice."""
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) != len(ids):
        raise GraphError(source, f"node id {unique[counts > 1][0].item()!r} twice", f"different {what}")


def check_text(source: str, what: str, values: Sequence[str | bytes]) -> list[str]:
    """Strings, or bytes in UTF-8; all such that they can be written as UTF-8 again, none of them blank.

    Raises:
        GraphError: one is another.
    """
    try:
        decoded = [value if isinstance(value, str) else value.decode() for value in values]
        "".join(decoded).encode()
    except UnicodeError as error:
        raise GraphError(source, f"{what} that are no text ({error})", "UTF-8") from error
    blank = next((row for row, text in enumerate(decoded) if not text.strip()), None)
    if blank is not None:
        raise GraphError(source, f"{what}[{blank}] = {decoded[blank]!r}", "a name in every row")
    return decoded
