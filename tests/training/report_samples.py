"""Report data of runs that never were, whose numbers look like those of one."""

from collections.abc import Sequence

import numpy as np

from rbm_training.data.edges import EdgeCounts
from rbm_training.data.graph_statistics import GraphStatistics, Source
from rbm_training.reporting.report_data import (
    Calibration,
    ClassResults,
    GroupAccuracy,
    LayerHistory,
    LayerMap,
    Method,
    Reliability,
    ReportData,
    RunFacts,
    TrainingHistory,
    UnseenAccuracy,
)

CLASSES = ("Case based", "Genetic algorithms", "Neural networks", "Probabilistic methods")


def facts(seeds: tuple[int, ...] = (0, 1, 2)) -> RunFacts:
    return RunFacts(
        name="cora-inductive",
        dataset="cora",
        setting="inductive",
        split="drawn from each class, 20 to learn from and 30 to select on",
        teacher="GraphSAGE",
        student="rbm",
        seeds=seeds,
        exported_seed=seeds[-1],
        num_training_labels=1_234,
        untrained_classes={},
        baseline_margin_error=0.011,
        only_answer=None,
        created_at="2026-11-22T20:50:23Z",
        git_commit="afe45b6f63b94d71526c62234cc147d874e9256c",
        dataset_sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        versions={"python": "3.11.9", "torch": "2.13.0"},
        config_toml='name = "cora-inductive"\n[student]\nnum_experts = 4\n',
    )


def bare_report_data(class_names: Sequence[str] = CLASSES) -> ReportData:
    """Nothing but what every run has: one seed, accuracies, and answers by class."""
    only = {"student": np.array([0.8]), "teacher": np.array([0.82]), "baseline": np.array([0.6])}
    return ReportData(facts((0,)), (GroupAccuracy("test nodes", 1_000, **only),), class_results(class_names))


def full_report_data(
    class_names: Sequence[str] = CLASSES, num_experts: int = 4, num_epochs: int = 40
) -> ReportData:
    """Every section has data; inductive, two layers, a vanilla mixture to compare with."""
    C = len(class_names)
    return ReportData(
        facts=facts(),
        accuracies=accuracies(),
        classes=class_results(class_names),
        calibration=calibration(),
        histories=(history("rbm", num_epochs, num_experts), history("moe", num_epochs, num_experts, seed=1)),
        maps=tuple(layer_map(num_experts, C, layer) for layer in range(2)),
        unseen=UnseenAccuracy(*(level + np.array([-0.01, 0, 0.012]) for level in (0.812, 0.826, 0.633))),
        methods=methods(),
        graph=statistics(),
    )


def statistics() -> GraphStatistics:
    source = Source(EdgeCounts(10_556, 12, 300, 4_966), ("edges.csv: column weight: edges have no weight",))
    sizes = dict.fromkeys(CLASSES, 677)
    return GraphStatistics(2_708, 2_708, 5_278, 0, 78, 2_485, 168, 5_278, 0.81, 0.18, sizes, 1_433, 0, source)


def accuracies() -> tuple[GroupAccuracy, ...]:
    spread = np.array([-0.006, 0.001, 0.005])
    groups = {"validation nodes": 0.83, "observed test nodes": 0.826, "unseen nodes": 0.81}
    return tuple(
        GroupAccuracy(group, 1_000, level + spread, level + 0.011 + spread / 2, level - 0.2 + spread)
        for group, level in groups.items()
    )


def class_results(names: Sequence[str]) -> ClassResults:
    generator = np.random.default_rng(0)
    C = len(names)
    sizes = generator.integers(30, 400, C)
    odds = generator.dirichlet(np.full(C, 0.4), C) * 0.25 + 0.75 * np.eye(C)
    confusion = np.stack([generator.multinomial(size, row) for size, row in zip(sizes, odds, strict=True)])
    recall = confusion.diagonal() / sizes
    return ClassResults(tuple(names), confusion, np.clip(recall + generator.normal(0.01, 0.03, C), 0, 1))


def calibration() -> Calibration:
    count = np.array([0, 0, 3, 9, 14, 20, 28, 33, 41, 57, 70, 95, 130, 210, 290])
    confidence = (np.arange(15) + 0.5) / 15
    wavy = 0.02 * np.sin(np.arange(15))
    before = Reliability(confidence, np.clip(confidence - 0.09 + wavy, 0, 1), count)
    after = Reliability(confidence, np.clip(confidence + wavy, 0, 1), np.roll(count, -1))
    return Calibration(1.37, before, after)


def history(method: str, num_epochs: int, num_experts: int, seed: int = 0) -> TrainingHistory:
    generator = np.random.default_rng(seed)
    epochs = np.arange(num_epochs)
    rise = 1 - np.exp(-epochs / (num_epochs / 8))
    start = num_epochs // 5
    layers = tuple(_layer_history(layer, generator, num_epochs, num_experts, start) for layer in range(2))
    val_noise, test_noise = generator.normal(0, 0.006, (2, num_epochs)) * rise
    commitment = np.where(epochs < start, np.nan, -0.05 * rise)
    return TrainingHistory(
        method=method,
        epochs=epochs,
        val_accuracy=(0.82 - 0.03 * seed) * rise + 0.05 + val_noise,
        test_accuracy=(0.81 - 0.03 * seed) * rise + 0.05 + test_noise,
        losses={
            "hard label": 1.9 * (1 - rise) + 0.05,
            "distillation": 1.2 * (1 - rise) + 0.2 + generator.normal(0, 0.01, num_epochs),
            "commitment": commitment,
            "load balance": np.where(epochs < start, np.nan, 0.004 * generator.random(num_epochs)),
        },
        layers=layers,
        routing_start=start,
        selected_epoch=num_epochs * 3 // 4,
    )


def _layer_history(
    layer: int, generator: np.random.Generator, num_epochs: int, num_experts: int, start: int
) -> LayerHistory:
    steps = generator.normal(0, 0.12, (num_epochs, num_experts)).cumsum(axis=0)
    utilisation = np.exp(steps) / np.exp(steps).sum(axis=1, keepdims=True)
    switching = 0.6 * np.exp(-np.arange(num_epochs) / (num_epochs / 6)) + 0.01 * generator.random(num_epochs)
    utilisation[:start], switching[: start + 1] = np.nan, np.nan
    return LayerHistory(layer, utilisation, switching)


def layer_map(num_experts: int, num_classes: int, seed: int, num_points: int = 600) -> LayerMap:
    generator = np.random.default_rng(seed)
    centres = generator.normal(0, 4, (num_classes, 2))
    label = generator.integers(num_classes, size=num_points)
    points = centres[label] + generator.normal(0, 1, (num_points, 2))
    memory = generator.normal(0, 4, (num_experts, 2))
    expert = ((points[:, None] - memory) ** 2).sum(axis=2).argmin(axis=1)
    counts = np.zeros((num_experts, num_classes))
    np.add.at(counts, (expert, label), 1)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    return LayerMap(seed, points, memory, expert, label, shares)


def methods() -> tuple[Method, ...]:
    return (
        Method("rbm", 0.83, 0.826, 420_000, 310_000, 96.0, 3.1),
        Method("mlp", 0.80, 0.797, 195_000, 195_000, 71.0, 1.4),
        Method("mlp, four times as wide", 0.81, 0.806, 1_100_000, 1_090_000, 88.0, 4.9),
        Method("moe", 0.81, 0.803, 420_000, 312_000, 97.0, 3.2),
        Method("ensemble of three mlp", 0.815, 0.811, 585_000, 585_000, 180.0, 3.9),
        Method("teacher (GraphSAGE)", 0.841, 0.838, 184_000, 9_800_000, 2150.0, 260.0),
    )
