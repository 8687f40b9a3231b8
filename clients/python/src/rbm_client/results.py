"""What the service says, as records with arrays.

Dimension letters: N rows, C classes, L layers, K experts per row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from rbm_client.questions import Id

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Labels = npt.NDArray[np.object_]

NO_EXPERT: Final = -1
NO_CLASS: Final = -1
PositionSource = Literal["cached", "neighbors", "supplied", "default"]


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model in one version."""

    name: str
    version: int


@dataclass(frozen=True, slots=True, eq=False)
class TopK:
    """The most probable classes of each row, best first."""

    labels: Labels  # (N, k)
    class_index: Integers  # (N, k)
    probabilities: Floats  # (N, k)


@dataclass(frozen=True, slots=True, eq=False)
class Experts:
    """The experts that each row was routed to, layer by layer; `NO_EXPERT` where a layer has fewer than K."""

    experts: Integers  # (N, L, K)
    weights: Floats  # (N, L, K)
    similarity: Floats  # (N, L, K)


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """The classes of N nodes, in the order in which they were asked for.

    Attributes:
        model: which model answered, all rows in the same version.
        request_ids: by which the log of the service knows the requests that this took.
        node_ids: (N,) as they were asked, or None.
        labels: (N,) the most probable class; None where the answer abstains, and of an unknown node.
        class_index: (N,) its place in the labels of `info`; `NO_CLASS` of an unknown node.
        confidence: (N,) its probability; NaN of an unknown node, as are its probabilities.
        positions: (N,) where the position of each row came from, a `PositionSource`; None of an unknown node.
        probabilities: (N, C) if they were asked for.
        top_k: if more than one class was asked for.
        abstained: (N,) if there was a `min_confidence`.
        experts: if an explanation was asked for; `NO_EXPERT` of an unknown node.
        unknown: (N,) whether the model does not know the node, if `on_unknown` was `null`.
    """

    model: ModelRef
    request_ids: tuple[str, ...]
    node_ids: tuple[Id, ...] | None
    labels: Labels
    class_index: Integers
    confidence: Floats
    positions: Labels
    probabilities: Floats | None
    top_k: TopK | None
    abstained: npt.NDArray[np.bool_] | None
    experts: Experts | None
    unknown: npt.NDArray[np.bool_] | None

    def __len__(self) -> int:
        return len(self.class_index)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the service takes at once."""

    max_batch_rows: int
    max_queued_rows: int
    max_request_rows: int
    max_body_bytes: int
    request_timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Info:
    """A model in service.

    Attributes:
        models: all in service, the default first.
        labels: [C] of the classes, in the order of their indices.
        num_features: F.
        position_width: P; 0 where the model takes no positions.
        id_kind: what node ids are: `range` and `integer` are numbers.
        document: everything that the service says, as it says it: accuracies, architecture, device, ...
    """

    model: ModelRef
    models: tuple[ModelRef, ...]
    labels: tuple[str, ...]
    num_features: int
    position_width: int
    id_kind: Literal["range", "integer", "string"]
    limits: Limits
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """What is in service after a command, and which version was before: the same if nothing had to change.

    Attributes:
        notes: what callers notice of the change, a line each: classes, fields and features that differ.
    """

    model: ModelRef
    former_version: int | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RepositoryRow:
    """How things are with a model of the repository; `READY`: in service."""

    name: str
    version: int | None
    state: str
    reason: str
