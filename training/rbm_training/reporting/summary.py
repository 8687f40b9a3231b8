"""What a run leaves to read: `report.json`, and the same as a table.

Accuracies are 0..1, taken at the epoch of best validation; means over seeds, with `_std` beside them.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from rbm_bundle.folders import replace_file
from rbm_bundle.manifest_parts import Setting
from rbm_training.errors import TrainingError
from rbm_training.evaluation.metrics import RareClass, mean_and_deviation
from rbm_training.evaluation.untrained_classes import in_words
from rbm_training.runtime.run_folder import REPORT

if TYPE_CHECKING:  # a report is shown without what reads graphs
    from rbm_training.data.graph_statistics import GraphStatistics


class ReportError(TrainingError):
    """A report that cannot be shown."""


@dataclass(frozen=True, slots=True)
class SeedReport:
    """One seed's measurements.

    `test_accuracy` is measured on the test nodes of the setting: inductive, those are the unseen nodes, and
    the observed test nodes stand apart, and `production_accuracy` mixes both, one to four; `val_accuracy` is
    what the student was selected by, pseudo-unseen nodes included, which teacher and baseline do not answer
    for. `test_accuracy_max` is the highest test accuracy of any epoch, which
    the paper's released code prints; it is inflated and nothing is chosen by it (None for an ensemble). The
    baseline is logistic regression on the scaled features, and `baseline_margin_error` the standard error of
    the student's lead over it on the test nodes, node by node; `test_accuracy_interval` are the ends of a
    95 % interval. `majority_accuracy` is that of the commonest class of the labels learnt from, and
    `only_answer` the class that the student gives to all test nodes, if it gives them one; recall and F1 are
    the student's on the test nodes, the mean over classes; `untrained_classes` are those without a training
    label, with their number of test nodes. `expert_usage` is each layer's share of routed rows by expert.
    What is `without_neighbors` is measured as if no neighbour of a node were known, and None for a student
    without positions: on the test nodes, and on the pseudo-unseen validation nodes or, where there are none,
    the observed ones.
    """

    seed: int
    student: str
    num_training_labels: int
    untrained_classes: dict[str, int]
    num_test_nodes: int
    layer_widths: list[int]
    num_experts: list[int]
    num_parameters: int
    flops_per_node: int
    sparse_flops_per_node: int | None
    selected_epoch: int | None
    num_epochs: int
    val_accuracy: float
    test_accuracy: float
    test_accuracy_interval: list[float]
    test_accuracy_max: float | None
    unseen_accuracy: float | None
    observed_test_accuracy: float | None
    production_accuracy: float | None
    teacher_val_accuracy: float
    teacher_test_accuracy: float
    teacher_unseen_accuracy: float | None
    teacher_observed_test_accuracy: float | None
    baseline_val_accuracy: float
    baseline_test_accuracy: float
    baseline_observed_test_accuracy: float | None
    baseline_margin_error: float
    majority_accuracy: float
    only_answer: str | None
    macro_recall: float
    macro_f1: float
    rare_classes: list[RareClass]
    calibration_error: float
    calibration_error_uncalibrated: float
    expert_usage: list[list[float]]
    seconds: float
    val_accuracy_without_neighbors: float | None = None
    test_accuracy_without_neighbors: float | None = None
    baseline_val_accuracy_without_neighbors: float | None = None
    baseline_test_accuracy_without_neighbors: float | None = None


@dataclass(frozen=True, slots=True)
class RunReport:
    """All seeds of a run, and which of them was exported: the best on validation, which is a comparison of
    seeds alone where all were validated on the same nodes (`shares_validation`). `split` says how nodes were
    divided.

    `advice` is what the graph and the experiment call for, a finding and what to do about it a line.
    `refit_disagreement` is the share of nodes that the fit on all labels classifies otherwise than the
    measured one, None where there was none; `is_refit` says which of the two was shipped.
    """

    name: str
    dataset: str
    graph: "GraphStatistics"
    split: str
    setting: Setting
    teacher: str
    exported_seed: int
    bundle_id: str
    git_commit: str | None
    versions: dict[str, str]
    shares_validation: bool
    refit_disagreement: float | None
    is_refit: bool
    advice: list[str]
    runs: list[SeedReport]

    @property
    def exported(self) -> SeedReport:
        """The report of the exported seed."""
        return next(run for run in self.runs if run.seed == self.exported_seed)

    def to_json(self) -> str:
        """The report as JSON: means on top, every seed below."""
        document = {key: value for key, value in asdict(self).items() if key != "runs"}
        document["seeds"] = [run.seed for run in self.runs]
        document.update(summarise(self.runs))
        for name in _OF_EXPORTED:
            document[name] = getattr(self.exported, name)
        document["runs"] = [asdict(run) for run in self.runs]
        return json.dumps(document, indent=2, allow_nan=False) + "\n"


_OF_EXPORTED = (
    *("student", "layer_widths", "num_experts", "num_parameters", "flops_per_node", "sparse_flops_per_node"),
    *("expert_usage", "rare_classes", "only_answer"),
)
_AVERAGED = (
    *("val_accuracy", "test_accuracy", "test_accuracy_max", "unseen_accuracy", "observed_test_accuracy"),
    "production_accuracy",
    *("teacher_val_accuracy", "teacher_test_accuracy", "teacher_unseen_accuracy"),
    *("teacher_observed_test_accuracy", "baseline_val_accuracy", "baseline_test_accuracy"),
    *("baseline_observed_test_accuracy", "majority_accuracy", "macro_recall", "macro_f1"),
    *("val_accuracy_without_neighbors", "test_accuracy_without_neighbors"),
    *("baseline_val_accuracy_without_neighbors", "baseline_test_accuracy_without_neighbors"),
    *("calibration_error", "calibration_error_uncalibrated", "seconds"),
)


def summarise(runs: list[SeedReport]) -> dict[str, float | None]:
    """Mean of every measurement and, as `<name>_std`, its deviation over seeds; None where undefined."""
    summary: dict[str, float | None] = {}
    for name in _AVERAGED:
        values = [getattr(run, name) for run in runs]
        defined = [value for value in values if value is not None]
        mean, deviation = mean_and_deviation(defined) if defined else (None, None)
        summary[name], summary[f"{name}_std"] = mean, deviation
    return summary


def write_report(folder: Path, report: RunReport) -> None:
    """Write `report.json`; its presence says that the run is finished."""
    replace_file(folder / REPORT, report.to_json().encode())


def report_table(path: Path) -> Table:
    """A finished run's `report.json` as a table for the terminal.

    Raises:
        ReportError: there is no report, or it is not one of ours.
    """
    try:
        document = json.loads(path.read_bytes())
        return _table(document)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReportError(f"{path}: found no readable report; wanted that of a finished run") from error


def _table(document: dict[str, Any]) -> Table:
    seeds = ", ".join(map(str, document["seeds"]))
    table = Table(title=f"{document['name']}: {document['dataset']}, {document['setting']}, seed {seeds}")
    table.add_column("accuracy at the epoch of best validation")
    for who in ("student", "teacher", "features only"):
        table.add_column(who, justify="right")
    inductive = document["setting"] == "inductive"
    rows = [("validation nodes", "val_accuracy"), ("test nodes", "test_accuracy")]
    if inductive:
        rows = [rows[0], ("observed test nodes", "observed_test_accuracy"), ("unseen nodes", "test_accuracy")]
    if document.get("test_accuracy_without_neighbors") is not None:
        rows.append((f"{rows[-1][0]}, no neighbour known", "test_accuracy_without_neighbors"))
    for title, key in rows:
        cells = [_cell(document, prefix + key) for prefix in ("", "teacher_", "baseline_")]
        table.add_row(title, *cells)
    table.caption = Text("\n".join(_notes(document)))
    return table


def _notes(document: dict[str, Any]) -> list[str]:
    """What is said below the table; reports of before do not have all of it."""
    notes = []
    if document.get("only_answer") is not None:
        notes.append(
            f"every test node is given class {document['only_answer']!r}: the student tells none apart"
        )
    notes += [_of_student(document)] if "layer_widths" in document else []
    notes += [_of_test_nodes(document)] if "macro_f1" in document else []
    notes += [_of_rare_class(*document["rare_classes"])] if document.get("rare_classes") else []
    notes += _of_split(document) if "split" in document else []
    notes += [_of_refit(document)] if document.get("refit_disagreement") is not None else []
    if document["test_accuracy_max"] is not None:
        highest = f"{document['test_accuracy_max']:.4f}"
        notes.append(f"highest test accuracy of any epoch, as the released code reports it: {highest}")
    if not document.get("shares_validation", True):
        exported = document["exported_seed"]
        notes.append(f"exported: seed {exported}, the best on validation nodes that differ from seed to seed")
    return notes


def _of_student(document: dict[str, Any]) -> str:
    """The exported one, which `auto` and a budget may have chosen."""
    widths, experts = document["layer_widths"], max(document["num_experts"])
    of_experts = f" of {experts} experts" if experts > 1 else ""
    flops = document["sparse_flops_per_node"] or document["flops_per_node"]
    return (
        f"student: {document['student']}{of_experts}, {' → '.join(map(str, widths))}; {flops:,} FLOPs a node"
    )


def _of_split(document: dict[str, Any]) -> list[str]:
    exported = next(run for run in document["runs"] if run["seed"] == document["exported_seed"])
    untrained = in_words(exported["untrained_classes"])
    return [f"split: {document['split']}", *([untrained] if untrained else [])]


def _of_test_nodes(document: dict[str, Any]) -> str:
    figures = {"macro recall": "macro_recall", "macro F1": "macro_f1", "commonest class": "majority_accuracy"}
    told = ", ".join(f"{title} {document[key]:.4f}" for title, key in figures.items())
    return f"learnt from {document['runs'][0]['num_training_labels']:,} labels; on test nodes: {told}"


def _of_rare_class(rarest: RareClass, *others: RareClass) -> str:
    areas = {"student": rarest["student"], "teacher": rarest["teacher"], "features only": rarest["baseline"]}
    told = ", ".join(f"{who} {area:.4f}" for who, area in areas.items())
    more = f"; of {len(others)} more rare classes: report.html" if others else ""
    return f"AUPRC of {rarest['name']!r}, {rarest['num_nodes']:,} of the test nodes: {told}{more}"


def _of_refit(document: dict[str, Any]) -> str:
    told = f"fitted on all labels, it classifies {document['refit_disagreement']:.1%} of the nodes otherwise"
    shipped = "that fit is shipped" if document["is_refit"] else "too many: the measured one is shipped"
    return f"{told}; {shipped}"


def _cell(document: dict[str, float | None], key: str) -> str:
    value, deviation = document.get(key), document.get(f"{key}_std")
    if value is None:
        return "–"
    return f"{value:.4f}" + (f" ± {deviation:.4f}" if deviation is not None else "")
