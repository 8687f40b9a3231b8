"""Sections about the student's predictions: how many are right, which are not, how sure it is of them."""

from collections.abc import Sequence

import numpy as np

from rbm_training.data.graph_statistics import MOST_CLASSES
from rbm_training.evaluation.calibration import Reliability
from rbm_training.evaluation.intervals import NORMAL_95, share_interval
from rbm_training.evaluation.metrics import RareClass
from rbm_training.evaluation.untrained_classes import in_words as untrained_in_words
from rbm_training.evaluation.without_neighbors import in_words
from rbm_training.reporting.figures import calibration_plots, class_plot, confusion_plot, unseen_plot
from rbm_training.reporting.html.formats import compared, count, percent, percent_of_seeds
from rbm_training.reporting.html.parts import Section, Table
from rbm_training.reporting.report_data import VALIDATION, ClassResults, GroupAccuracy, Reals, ReportData

MOST_CONFUSIONS = 5
WHO = ("student", "teacher", "features only")


def summary(data: ReportData) -> Section:
    """The student against its teacher and against features alone, in a sentence and in tables."""
    title = "Accuracy (%) at the epoch of best validation"
    if len(data.facts.seeds) == 1:
        tables: tuple[Table, ...] = (_with_intervals(data, f"{title}, with 95 % intervals on test nodes"),)
    else:
        rows = tuple(
            (group.group, count(group.num_nodes), *map(percent_of_seeds, _by_whom(group)))
            for group in _groups(data)
        )
        means = f"{title}, mean ± standard deviation over seeds"
        tables = (Table(means, ("", "nodes", *WHO), rows), _each_seed(data))
    return Section("summary", "Summary", _comparison(data), tables)


def _comparison(data: ReportData) -> str:
    facts, tested = data.facts, data.accuracies[-1]
    student, teacher, baseline = (float(values.mean()) for values in _by_whom(tested))
    num_seeds = len(facts.seeds)
    over = f" on average over {num_seeds} seeds" if num_seeds > 1 else ""
    margin = NORMAL_95 * facts.baseline_margin_error
    low, high = max(-1.0, student - baseline - margin), min(1.0, student - baseline + margin)
    known = f"It learnt from {count(facts.num_training_labels)} labels. Split: {facts.split}."
    if data.without_neighbors:
        alone = data.without_neighbors[-1]
        known += f" {in_words(facts.setting, alone.student.mean(), alone.baseline.mean())}"
    return (
        f"{_verdict(data, low)}Without a graph at request time, the student labels"
        f" {percent(student, 2)} % of the {count(tested.num_nodes)} {tested.group} correctly{over}:"
        f" {compared(student - baseline)} a logistic regression that sees the features alone"
        f" (95 % interval {100 * low:+.2f} to {100 * high:+.2f} points),"
        f" and {compared(student - teacher)} its teacher. {known}"
    )


def _verdict(data: ReportData, low: float) -> str:
    """What has to be said first, if anything: no class is told apart, or the graph is not seen to help."""
    answer, classes = data.facts.only_answer, data.classes
    if answer is not None:
        commonest = classes.names[int(classes.num_nodes.argmax())]
        which = "the commonest class" if answer == commonest else "one class"
        return f"The student answers {answer!r} for every node, {which}: it tells no two classes apart. "
    return "" if low > 0 else "The graph is not seen to help. "


def _with_intervals(data: ReportData, title: str) -> Table:
    rows = tuple(
        (
            group.group,
            count(group.num_nodes),
            *(_with_interval(float(values[0]), group) for values in _by_whom(group)),
        )
        for group in _groups(data)
    )
    return Table(title, ("", "nodes", *WHO), rows)


def _with_interval(share: float, group: GroupAccuracy) -> str:
    """An accuracy, with its interval where there is one and nothing was selected by it."""
    if group.group.startswith(VALIDATION) or np.isnan(share):
        return percent(share, 2)
    low, high = share_interval(share, group.num_nodes)
    return f"{percent(share, 2)} ({percent(low)}–{percent(high)})"


def _groups(data: ReportData) -> tuple[GroupAccuracy, ...]:
    return *data.accuracies, *data.without_neighbors


def _by_whom(group: GroupAccuracy) -> tuple[Reals, Reals, Reals]:
    return group.student, group.teacher, group.baseline


def _each_seed(data: ReportData) -> Table:
    rows = tuple(
        (str(seed), group.group, *(percent(values[place], 2) for values in _by_whom(group)))
        for place, seed in enumerate(data.facts.seeds)
        for group in _groups(data)
    )
    return Table("Accuracy (%) of each seed", ("seed", "", *WHO), rows, num_names=2, folded=True)


def classes(data: ReportData) -> Section:
    """Recall and precision of each class."""
    results = data.classes
    numbers = zip(results.num_nodes, results.recall, results.precision, results.teacher_recall, strict=True)
    rows = tuple(
        (str(number), name, count(num_nodes), *map(percent, shares))
        for number, (name, (num_nodes, *shares)) in enumerate(zip(results.names, numbers, strict=True))
    )
    lead = (
        f"The student of seed {data.facts.exported_seed}, on the {data.accuracies[-1].group}."
        " Recall is the share of a class that was found, precision the share of its answers that are right."
        f" {untrained_in_words(data.facts.untrained_classes)}"
    ).rstrip()
    title = "By class: recall and precision of the student, recall of the teacher (%)"
    table = Table(title, ("#", "class", "nodes", "recall", "precision", "teacher"), rows, num_names=2)
    rare = (_rare_classes(data.rare_classes),) if data.rare_classes else ()
    return Section("classes", "Classes", lead, (table, *rare), (class_plot(results),))


def _rare_classes(found: Sequence[RareClass]) -> Table:
    rows = tuple(
        (
            each["name"],
            count(each["num_nodes"]),
            *map(percent, (each["share"], each["student"], each["teacher"], each["baseline"])),
        )
        for each in found
    )
    title = (
        "Rare classes: area under the precision-recall curve (AUPRC, %); the share of the nodes is what"
        " guessing reaches"
    )
    return Table(title, ("class", "nodes", "share (%)", *WHO), rows, folded=len(rows) > MOST_CLASSES)


def confusion(data: ReportData) -> Section:
    """Which classes are taken for which."""
    results = data.classes
    rows = _confusions(results)
    columns = ("true class", "taken for", "nodes", "of the class (%)")
    tables = (Table("Most frequent confusions", columns, rows, num_names=2),) if rows else ()
    right, total = results.confusion.trace(), results.confusion.sum()
    lead = f"{count(right)} of {count(total)} nodes stand on the diagonal."
    return Section("confusion", "Confusion", lead, tables, (confusion_plot(results),))


def _confusions(results: ClassResults) -> tuple[tuple[str, ...], ...]:
    """The most frequent ones; of equals, the first by true class."""
    wrong = results.confusion - np.diag(results.confusion.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]
    return tuple(
        (
            results.names[true],
            results.names[predicted],
            count(wrong[true, predicted]),
            percent(results.row_shares[true, predicted]),
        )
        for true, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[true, predicted] > 0
    )


def calibration(data: ReportData) -> Section | None:
    """What the temperature does to confidences."""
    record = data.calibration
    if record is None:
        return None
    before, after = record.before.expected_error, record.after.expected_error
    lead = (
        f"The exported graph divides logits by {record.temperature:.3f}, a temperature fitted on validation"
        f" nodes. On the {data.accuracies[-1].group} that takes the expected calibration error from"
        f" {percent(before, 2)} % to {percent(after, 2)} %."
    )
    tables = (_bins("before", record.before), _bins("after", record.after))
    return Section("calibration", "Calibration", lead, tables, tuple(calibration_plots(record)))


def _bins(when: str, bins: Reliability) -> Table:
    filled = [index for index, size in enumerate(bins.count) if size]
    rows = tuple(
        (str(index), count(bins.count[index]), percent(bins.confidence[index]), percent(bins.accuracy[index]))
        for index in filled
    )
    columns = ("bin", "nodes", "mean confidence", "accuracy")
    return Table(f"Confidence {when} the temperature, bin by bin (%)", columns, rows, folded=True)


def unseen(data: ReportData) -> Section | None:
    """What inferring positions costs."""
    record = data.unseen
    if record is None:
        return None
    sources = {"true": record.true, "inferred": record.inferred, "default": record.default}
    rows = tuple((name, percent_of_seeds(values)) for name, values in sources.items())
    lead = (
        "These nodes and their edges were cut out before anything was trained. A true position is encoded"
        " with the whole graph; an inferred one is the mean of the known neighbours', as in the service;"
        " the default, zeros, is that of a node without known neighbours."
    )
    table = Table("Accuracy on unseen nodes (%)", ("position", "accuracy"), rows)
    return Section(
        "unseen", "Unseen nodes", lead, (table,), (unseen_plot(record, data.accuracies[-1].num_nodes),)
    )
