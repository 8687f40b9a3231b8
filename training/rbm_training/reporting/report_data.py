"""What the page of a run shows of it: measurements, epochs, maps and costs, as plain arrays.

Everything but accuracies is the exported seed's. Accuracies and shares are 0..1, NaN where nothing was
measured.
Dimension letters: S seeds, C classes, J confidence bins, T epochs, E experts, R sampled rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rbm_bundle.manifest_parts import Setting
from rbm_training.data.graph_statistics import GraphStatistics
from rbm_training.evaluation.calibration import Reliability
from rbm_training.evaluation.metrics import RareClass

Reals = npt.NDArray[np.floating[Any]]
Counts = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What was run, and from what.

    `config_toml` is the resolved experiment; `created_at` is ISO 8601; `split` says how nodes were divided;
    `baseline_margin_error` is the standard error of the student's mean lead over logistic regression, over
    test nodes and seeds; `untrained_classes` are those without a training label of the exported student's,
    with their number of test nodes; `only_answer` is the class that it gives to all test nodes, if it gives
    them one.
    """

    name: str
    dataset: str
    setting: Setting
    split: str
    teacher: str
    student: str
    seeds: tuple[int, ...]
    exported_seed: int
    num_training_labels: int
    untrained_classes: Mapping[str, int]
    baseline_margin_error: float
    only_answer: str | None
    created_at: str
    git_commit: str | None
    dataset_sha256: str
    versions: Mapping[str, str]
    config_toml: str


VALIDATION = "validation nodes"
NO_NEIGHBOR = ", no neighbour known"


@dataclass(frozen=True, slots=True)
class GroupAccuracy:
    """Accuracies on one group of nodes, such as "test nodes". Shapes: each (S,), as the seeds are.

    Those of validation nodes are what was selected by, and of the student count pseudo-unseen nodes too.
    """

    group: str
    num_nodes: int
    student: Reals
    teacher: Reals
    baseline: Reals


@dataclass(frozen=True, slots=True)
class ClassResults:
    """Answers on the nodes that the setting tests on, by class.

    Shapes: names C; confusion (C, C), nodes by true (row) and predicted (column) class; teacher_recall (C,).
    """

    names: tuple[str, ...]
    confusion: Counts
    teacher_recall: Reals

    @property
    def num_nodes(self) -> Counts:
        """Test nodes of each class, (C,)."""
        return np.asarray(self.confusion.sum(axis=1))

    @property
    def recall(self) -> Reals:
        """Share of each class's nodes that the student found, (C,)."""
        return _shares(self.confusion.diagonal(), self.num_nodes)

    @property
    def precision(self) -> Reals:
        """Share of the student's answers of each class that are right, (C,)."""
        return _shares(self.confusion.diagonal(), self.confusion.sum(axis=0))

    @property
    def row_shares(self) -> Reals:
        """Confusion as shares of each true class, (C, C)."""
        return _shares(self.confusion, self.num_nodes[:, None])


@dataclass(frozen=True, slots=True)
class Calibration:
    """Reliability before and after the temperature, which is fitted on validation nodes."""

    temperature: float
    before: Reliability
    after: Reliability


@dataclass(frozen=True, slots=True)
class LayerHistory:
    """How a layer routed, epoch by epoch; NaN before it did.

    `layer` is its number in the student, from 0.

    Shapes, all of validation nodes: utilisation (T, E), share of the routed rows that each expert got;
    switching (T,), share of nodes whose first expert is another than an epoch before, NaN at the first routed
    epoch too.
    """

    layer: int
    utilisation: Reals
    switching: Reals

    @property
    def balance(self) -> Reals:
        """Entropy of the utilisation over that of an even one, (T,): 1 even, 0 all rows to one expert."""
        used = np.where(self.utilisation > 0, self.utilisation, 1.0)  # 0 log 0 = 0
        entropy = -(used * np.log(used)).sum(axis=1) / np.log(max(2, used.shape[1]))
        return np.where(np.isnan(self.utilisation).any(axis=1), np.nan, entropy)


@dataclass(frozen=True, slots=True)
class TrainingHistory:
    """A training, epoch by epoch.

    `test_accuracy` is recorded, never selected on. `routing_start` is the first routed epoch; it is None,
    and there are no layers, where nothing was routed.

    Shapes: epochs, val_accuracy, test_accuracy and each named loss (T,); layers L.
    """

    method: str
    epochs: Counts
    val_accuracy: Reals
    test_accuracy: Reals
    losses: Mapping[str, Reals]
    layers: tuple[LayerHistory, ...]
    routing_start: int | None
    selected_epoch: int


@dataclass(frozen=True, slots=True)
class LayerMap:
    """Where a layer's experts stand among its inputs; `layer` is its number in the student, from 0.

    Shapes: points (R, 2) and memory (E, 2) in one map; expert (R,), the first of each point; label (R,), its
    class; class_shares (E, C), each expert's rows by class, rows sum to 1.
    """

    layer: int
    points: Reals
    memory: Reals
    expert: Counts
    label: Counts
    class_shares: Reals


@dataclass(frozen=True, slots=True)
class UnseenAccuracy:
    """Accuracy on unseen nodes by where their positions come from. Shapes: each (S,).

    inferred from known neighbours; true, encoded with the whole graph; default, the zeros of a node
    of which nothing is known.
    """

    inferred: Reals
    true: Reals
    default: Reals


@dataclass(frozen=True, slots=True)
class Method:
    """Accuracy and cost of one of the compared methods; latency per row, in batches of 1 and of 128, NaN
    where it was not measured. Widths [D, H, …, C] and experts of layers are a student's, and
    `sparse_flops_per_node` that of one with sparse features."""

    name: str
    val_accuracy: float
    test_accuracy: float
    num_parameters: int
    flops_per_node: float
    latency_microseconds_alone: float
    latency_microseconds_batched: float
    layer_widths: Sequence[int] = ()
    num_experts: Sequence[int] = ()
    sparse_flops_per_node: int | None = None


@dataclass(frozen=True, slots=True)
class TeacherReads:
    """The nodes that the teacher reads to answer about one, at the mean degree of the graph."""

    num_nodes: float
    mean_degree: float


@dataclass(frozen=True, slots=True)
class ReportData:
    """A finished run as its page shows it; what is empty or None is left out.

    The last group of `accuracies` is the one that the setting tests on, and that of `without_neighbors` the
    same as if no neighbour were known. Methods begin with the student and
    end with the teacher, unless that was not trained here; histories begin with the student if it has epochs.
    """

    facts: RunFacts
    accuracies: tuple[GroupAccuracy, ...]
    classes: ClassResults
    calibration: Calibration | None = None
    histories: tuple[TrainingHistory, ...] = ()
    maps: tuple[LayerMap, ...] = ()
    unseen: UnseenAccuracy | None = None
    methods: tuple[Method, ...] = ()
    teacher_reads: TeacherReads | None = None
    graph: GraphStatistics | None = None
    advice: tuple[str, ...] = ()
    without_neighbors: tuple[GroupAccuracy, ...] = ()
    rare_classes: tuple[RareClass, ...] = ()


def _shares(part: Counts, whole: Counts) -> Reals:
    """part / whole, NaN where the whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))
