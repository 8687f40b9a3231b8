"""A training as its page tells it, epoch by epoch."""

import numpy as np

from rbm_training.distillation.train import EpochRecord
from rbm_training.distillation.trainer import MEMORY_SIMILARITY
from rbm_training.reporting.baselines import TrainedStudent
from rbm_training.reporting.report_data import LayerHistory, Reals, TrainingHistory


def training_history(trained: TrainedStudent) -> TrainingHistory:
    """The history of one student."""
    records = trained.distilled.history
    metrics = [record.metrics for record in records]
    routed = [place for place, record in enumerate(records) if record.use]
    assert trained.distilled.selected_epoch is not None
    return TrainingHistory(
        method=trained.name,
        epochs=np.array([each.epoch for each in metrics]),
        val_accuracy=np.array([each.val_accuracy for each in metrics]),
        test_accuracy=np.array([each.test_accuracy for each in metrics]),
        losses=_losses(records),
        layers=_layer_histories(records, routed),
        routing_start=metrics[routed[0]].epoch if routed else None,
        selected_epoch=trained.distilled.selected_epoch,
    )


def _losses(records: list[EpochRecord]) -> dict[str, Reals]:
    """The parts of the loss that played a part."""
    names = [name for name in records[0].terms if name != MEMORY_SIMILARITY]
    parts = {name: np.array([record.terms[name] for record in records]) for name in names}
    return {name.replace("_", " "): values for name, values in parts.items() if values.any()}


def _layer_histories(records: list[EpochRecord], routed: list[int]) -> tuple[LayerHistory, ...]:
    if not routed:
        return ()
    layers = []
    for index, first in enumerate(records[routed[0]].use):
        utilisation = np.full((len(records), len(first.usage)), np.nan)
        switching = np.full(len(records), np.nan)
        for place in routed:
            use = records[place].use[index]
            utilisation[place] = use.usage
            switching[place] = np.nan if use.switching is None else use.switching
        layers.append(LayerHistory(first.layer, utilisation, switching))
    return tuple(layers)
