"""Sections about the student itself: how it was trained and from what, how it routes, what it costs."""

from collections.abc import Sequence

import numpy as np

from rbm_training.reporting.figures import cost_plots, map_plots, stability_plots, training_plots
from rbm_training.reporting.figures.style import shorten
from rbm_training.reporting.html.formats import NOTHING, count, listed, percent, three_digits
from rbm_training.reporting.html.parts import Section, Table
from rbm_training.reporting.report_data import LayerMap, Method, ReportData, TeacherReads

MAIN_CLASSES = 2


def training(data: ReportData) -> Section | None:
    """Accuracies and losses by epoch."""
    if not data.histories:
        return None
    student = data.histories[0]
    routed = "" if student.routing_start is None else f", routing started at epoch {student.routing_start}"
    lead = (
        f"{student.method}: {count(len(student.epochs))} epochs; epoch {student.selected_epoch} was"
        f" selected{routed}."
    )
    return Section("training", "Training", lead, plots=tuple(training_plots(data.histories)))


def stability(data: ReportData) -> Section | None:
    """Whether routing settles, and whether all experts are used."""
    if not data.histories or data.histories[0].routing_start is None:
        return None
    told = "; ".join(
        f"layer {layer.layer} is {percent(layer.balance[-1])} % balanced and {percent(layer.switching[-1])} %"
        " of validation nodes switch expert"
        for layer in data.histories[0].layers
    )
    plots = tuple(stability_plots(data.histories))
    return Section("stability", "Routing stability", f"At the last epoch {told}.", plots=plots)


def specialisation(data: ReportData) -> list[Section]:
    """What the experts of each layer are for."""
    names = data.classes.names
    return [
        Section(
            f"specialisation-{layer.layer}",
            f"Specialisation, layer {layer.layer}",
            "What the layer's experts are for, on a sample of its inputs laid out in two dimensions.",
            (_experts(layer, names),),
            tuple(map_plots(layer, names)),
        )
        for layer in data.maps
    ]


def _experts(layer: LayerMap, names: Sequence[str]) -> Table:
    rows = []
    for expert, shares in enumerate(layer.class_shares):
        main = [label for label in np.argsort(-shares, kind="stable")[:MAIN_CLASSES] if shares[label] > 0]
        told = listed([f"{shorten(names[label])} {percent(shares[label], 0)} %" for label in main])
        rows.append((str(expert), told or NOTHING, percent(float((layer.expert == expert).mean()))))
    columns = ("expert", "main classes of its rows", "first for (%)")
    return Table("Experts", columns, tuple(rows), num_names=2)


def cost(data: ReportData) -> Section | None:
    """What a row costs, and what others give for that."""
    if not data.methods:
        return None
    is_sparse = any(method.sparse_flops_per_node for method in data.methods)
    rows = tuple(
        (
            method.name,
            " → ".join(map(count, method.layer_widths)) or NOTHING,
            listed(method.num_experts) or NOTHING,
            percent(method.val_accuracy),
            percent(method.test_accuracy),
            count(method.num_parameters),
            count(method.flops_per_node),
            *((_sparse_flops(method),) if is_sparse else ()),
            three_digits(method.latency_microseconds_alone),
            three_digits(method.latency_microseconds_batched),
        )
        for method in data.methods
    )
    columns = (
        "",
        "layer widths",
        "experts a layer",
        "validation (%)",
        "test (%)",
        "parameters",
        "FLOPs per node",
        *(("without zeros of features",) if is_sparse else ()),
        "µs, batch 1",
        "µs, batch 128",
    )
    table = Table("Accuracy, size, arithmetic, and measured latency per row", columns, rows, num_names=3)
    plots = cost_plots(data.methods, data.accuracies[-1].num_nodes) if len(data.methods) > 1 else []
    lead = "What classifying one node takes: arithmetic is counted, latency is measured."
    if data.teacher_reads is not None:
        lead += _of_teacher(data.teacher_reads)
    return Section("cost", "Cost", lead, (table,), tuple(plots))


def _sparse_flops(method: Method) -> str:
    return NOTHING if method.sparse_flops_per_node is None else count(method.sparse_flops_per_node)


def _of_teacher(reads: TeacherReads) -> str:
    if reads.num_nodes == 1:
        return " The teacher reads the node alone."
    return (
        f" An answer of the teacher reads {three_digits(reads.num_nodes)} nodes and computes on them, counted"
        f" as if every node had {three_digits(reads.mean_degree)} neighbours, the mean of the graph, and no"
        " two the same; networks that answer together are added up. Near a hub it is more."
    )


def graph(data: ReportData) -> Section | None:
    """What was read, and what became of it."""
    if data.graph is None:
        return None
    table = Table("What was read", ("", ""), tuple(data.graph.lines()), num_names=2)
    rows = tuple((line,) for line in data.advice)
    advice = (Table("What that calls for", ("advice",), rows),) if rows else ()
    return Section("graph", "Graph", "The graph that student and teacher learnt from.", (table, *advice))


def provenance(data: ReportData) -> Section:
    """What it takes to repeat the run."""
    facts = data.facts
    rows = (
        ("created", facts.created_at),
        ("git commit", facts.git_commit or "unknown"),
        ("dataset sha256", facts.dataset_sha256),
        ("seeds", listed(facts.seeds)),
        ("exported seed", str(facts.exported_seed)),
        *((f"version of {library}", version) for library, version in facts.versions.items()),
    )
    table = Table("What this run was made from", ("", ""), rows, num_names=2)
    lead = "What it takes to repeat this run."
    return Section("provenance", "Provenance", lead, (table,), verbatim=facts.config_toml)
