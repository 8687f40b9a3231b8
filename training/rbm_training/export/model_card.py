"""`MODEL_CARD.md`: the manifest in words, for whoever finds the bundle."""

from collections.abc import Sequence

from rbm_bundle.degrees import DEGREE_FEATURES
from rbm_bundle.manifest import Manifest
from rbm_training.config.registry import AUTO, PRECOMPUTED, TEACHERS
from rbm_training.data.graph_statistics import MOST_NAMES, first_of
from rbm_training.evaluation.metrics import RareClass
from rbm_training.evaluation.without_neighbors import in_words
from rbm_training.students.kind import student_kind


def render_model_card(manifest: Manifest, rare_classes: Sequence[RareClass] = ()) -> str:
    """The card of a bundle, as Markdown."""
    metrics, source = manifest.metrics, manifest.provenance
    lines = [
        f"# {manifest.name}",
        "",
        f"A graph-free student, {_student(manifest)}, {_learnt_from(manifest)}"
        f" on `{source.dataset}`, {source.setting} setting. It classifies a node into"
        f" {len(manifest.labels)} classes from {manifest.features.num_features} raw features and a cached"
        f" position of width {manifest.nodes.position_width}.",
        "",
        *_feature_names(manifest),
        "| measured at the epoch of best validation | |",
        "|---|--:|",
        *_metric_rows(manifest),
        *_area_rows(rare_classes),
        "",
        f"{_measured_on(manifest)} Of {metrics.num_runs} run(s) it is the one best on validation.",
        "",
        "## Student",
        "",
        _sizes(manifest),
        "",
        *_records(manifest),
        "## Nodes",
        "",
        f"{manifest.nodes.num_nodes:,} known nodes. Any other node is placed at the mean of its"
        f" known neighbours' positions, or at zero when none is known.{_without_neighbors(manifest)}",
        "",
        "## Classes",
        "",
        ", ".join(manifest.labels) + _merged(manifest),
        "",
        "## Provenance",
        "",
        _provenance(manifest),
        "",
    ]
    return "\n".join(lines)


def _feature_names(manifest: Manifest) -> list[str]:
    """The first features by name, nothing where they have none."""
    if manifest.features.names is None:
        return []
    told = f"Features, in the order of a row: {first_of(manifest.features.names, MOST_NAMES)}."
    if manifest.features.names == DEGREE_FEATURES:
        told += " The graph had none; a request that names a node's neighbours need not send them."
    return [told, ""]


def _records(manifest: Manifest) -> list[str]:
    """The fields of raw records, nothing where the model takes none."""
    if manifest.records is None:
        return []
    rows = [f"| {each.name} | {each.kind} | {each.num_features} |" for each in manifest.records.columns]
    return [
        "## Records",
        "",
        "Raw records of these fields may come in place of features.",
        "",
        "| field | kind | features |",
        "|---|---|--:|",
        *rows,
        "",
    ]


def _student(manifest: Manifest) -> str:
    kind, config = manifest.architecture.student, manifest.provenance.config.get("student", {})
    return f"{student_kind(kind).summary(config)} (`{kind}`)"


def _sizes(manifest: Manifest) -> str:
    student = manifest.architecture
    experts = ""
    if max(student.num_experts) > 1:
        K = student.experts_per_row
        most = f"{K}" if min(student.num_experts) >= K else f"at most {K}"
        is_shared = len(student.num_experts) < len(student.layer_widths) - 1
        chosen = ", chosen once for all layers" if is_shared else ""
        numbers = ", ".join(map(str, student.num_experts))
        experts = f" experts a layer {numbers}, {most} of them a row{chosen};"
    return (
        f"Layer widths {' → '.join(map(str, student.layer_widths))};{experts}"
        f" {student.num_parameters:,} parameters; temperature {student.temperature:.3f}."
    )


def _learnt_from(manifest: Manifest) -> str:
    if not student_kind(manifest.architecture.student).is_distilled:
        return "which learnt from labels alone"
    return f"distilled from {_teacher(manifest)}"


def _teacher(manifest: Manifest) -> str:
    teacher = manifest.provenance.config.get("teacher", {})
    kind, members = teacher.get("kind", "sage"), teacher.get("members", 1)
    if kind == PRECOMPUTED:
        return "the saved logits of a teacher"
    if kind == AUTO:
        return "the mean of " + " and ".join(_summary(member["kind"]) for member in teacher["chosen"])
    name = _summary(kind)
    return name if members == 1 else f"{name} (an ensemble of {members} networks)"


def _provenance(manifest: Manifest) -> str:
    source = manifest.provenance
    return (
        f"Made {manifest.created_at} from dataset sha256 `{source.dataset_sha256[:16]}`, seed {source.seed},"
        f" commit `{source.git_commit or 'unknown'}`."
        " The resolved experiment and library versions are in the manifest."
    )


def _measured_on(manifest: Manifest) -> str:
    """What the accuracies below are those of."""
    count = manifest.metrics.num_training_labels
    learnt = "" if count is None else f", which learnt from {count:,} labels"
    divided = manifest.provenance.config.get("dataset", {}).get("divided")
    learnt += "" if divided is None else f" (split: {divided})"
    if not manifest.provenance.refit:
        return f"Measured: this model{learnt}."
    return (
        f"Measured: a model of the same kind{learnt}. This one was then fitted on all labels and all nodes,"
        " as long and with the same temperature; no label is left to measure it on."
    )


def _without_neighbors(manifest: Manifest) -> str:
    """How good it is at nodes of which no neighbour is known, where that was measured."""
    metrics = manifest.metrics
    student, baseline = (
        metrics.test_accuracy_without_neighbors,
        metrics.baseline_test_accuracy_without_neighbors,
    )
    if student is None or baseline is None:
        return ""
    return f" {in_words(manifest.provenance.setting, student, baseline)}"


def _merged(manifest: Manifest) -> str:
    """Which classes stand behind one that rare ones have become."""
    merged = manifest.provenance.config.get("dataset", {}).get("merged_classes", {})
    return "".join(f". `{name}` stands for {', '.join(classes)}" for name, classes in merged.items())


def _metric_rows(manifest: Manifest) -> list[str]:
    metrics = manifest.metrics
    named = {
        "validation accuracy": metrics.val_accuracy,
        "test accuracy": metrics.test_accuracy,
        "test accuracy, mean over runs": metrics.test_accuracy_mean,
        "test accuracy, standard deviation over runs": metrics.test_accuracy_std,
        "teacher's test accuracy": metrics.teacher_test_accuracy,
        "unseen-node accuracy": metrics.unseen_accuracy,
        "teacher's unseen-node accuracy": metrics.teacher_unseen_accuracy,
        "expected calibration error": metrics.calibration_error,
    }
    return [f"| {name} | {value:.4f} |" for name, value in named.items() if value is not None]


def _area_rows(rare_classes: Sequence[RareClass]) -> list[str]:
    return [
        f"| AUPRC of {each['name']}, {each['share']:.1%} of the test nodes | {each['student']:.4f} |"
        for each in rare_classes
    ]


def _summary(kind: str) -> str:
    """A teacher in a few words; logistic regression is one only beside others."""
    summary: str = "logistic regression" if kind == "linear" else TEACHERS[kind].summary
    return summary
