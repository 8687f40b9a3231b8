"""What a run hands over to be exported: the student of its best seed, and how it came about."""

from dataclasses import fields
from typing import Any

from rbm_bundle.manifest_parts import Metrics, Provenance
from rbm_training.config import ExperimentConfig
from rbm_training.config.paths import with_bare_paths
from rbm_training.config.registry import AUTO
from rbm_training.data.dataset import Dataset
from rbm_training.export import ExportRequest, build_node_table
from rbm_training.export.node_map import build_node_map
from rbm_training.export.records_graph import records_part_of
from rbm_training.reporting.baselines import TrainedStudent
from rbm_training.reporting.summary import SeedReport, summarise
from rbm_training.runtime.environment import describe_environment, git_commit


def export_request(
    config: ExperimentConfig,
    dataset: Dataset,
    best: TrainedStudent,
    reports: list[SeedReport],
    is_refit: bool,
) -> ExportRequest:
    """The student, the nodes that the service will know, and the record of both.

    Args:
        best: of the best seed, as it was measured or fitted once more.
    """
    data, measured = best.data, next(report for report in reports if report.seed == best.seed)
    known = data.task.graph.subgraph(data.task.known_nodes)
    student = best.distilled.student.on_cpu()
    return ExportRequest(
        name=config.export.name or config.name,
        student=student,
        nodes=build_node_table(known, data.known_positions, config.export.cache_features),
        features=data.task.observed.features,
        positions=data.positions,
        labels=dataset.graph.class_names,
        records=records_part_of(dataset, data.task, best.seed),
        feature_names=dataset.feature_names,
        node_map=build_node_map(student, known, data.known_positions),
        metrics=_metrics(measured, reports),
        rare_classes=measured.rare_classes,
        provenance=Provenance(
            git_commit=git_commit(),
            dataset=dataset.graph.name,
            dataset_sha256=dataset.sha256,
            setting=config.dataset.setting,
            seed=best.seed,
            config=_as_run(config, dataset, best),
            versions=describe_environment(),
            refit=is_refit,
        ),
    )


def _as_run(config: ExperimentConfig, dataset: Dataset, best: TrainedStudent) -> dict[str, Any]:
    """The experiment with the number of threads, how nodes were divided, which classes were merged, what
    labels weighed, who of several teachers was chosen, and which student `auto` and a budget came down
    to."""
    document = with_bare_paths(config.model_dump(mode="json"))
    document["num_threads"] = config.threads_for(dataset.graph.num_nodes, dataset.graph.num_values)
    document["dataset"]["divided"] = dataset.split_in_words(config.dataset)
    if dataset.merged is not None:
        document["dataset"]["merged_classes"] = {dataset.merged.name: [*dataset.merged.sizes]}
    document["distill"]["hard_label_weight"] = best.distilled.hard_label_weight
    if config.teacher.kind == AUTO:
        members = best.data.teacher.members
        document["teacher"]["chosen"] = [dict(member.described) for member in members]
    if best.distilled.shape != config.student:
        document["student"]["chosen"] = best.distilled.shape.model_dump(mode="json")
    return document


def _metrics(exported: SeedReport, reports: list[SeedReport]) -> Metrics:
    """The exported seed's own figures, beside mean and deviation of all."""
    summary = summarise(reports)
    names = Metrics.model_fields.keys() & {field.name for field in fields(SeedReport)}
    return Metrics(
        **{name: getattr(exported, name) for name in names},
        test_accuracy_mean=summary["test_accuracy"] if len(reports) > 1 else None,
        test_accuracy_std=summary["test_accuracy_std"],
        num_runs=len(reports),
    )
