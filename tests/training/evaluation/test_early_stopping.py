import pytest
import torch

from rbm_training.evaluation.early_stopping import EarlyStopping, EpochMetrics


class Counter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("epoch", torch.zeros(()))


def select(epochs, patience=100):
    """Runs (val accuracy, val loss, test accuracy) through early stopping; returns it and the epoch kept."""
    early_stopping, model = EarlyStopping(patience), Counter()
    for index, (val, loss, test) in enumerate(epochs):
        model.epoch.fill_(index)
        early_stopping.observe(EpochMetrics(index, val, loss, test), model)
    early_stopping.restore(model)
    return early_stopping, int(model.epoch)


def test_the_best_validation_epoch_is_kept_with_its_state():
    early_stopping, restored = select([(0.5, 1.0, 0.1), (0.9, 0.5, 0.2), (0.8, 0.4, 0.3)])
    assert restored == early_stopping.best.epoch == 1


def test_a_planted_late_spike_of_test_accuracy_changes_nothing_but_the_inflated_maximum():
    epochs = [(0.5, 1.0, 0.5), (0.9, 0.5, 0.6), (0.8, 0.4, 0.6)]
    early_stopping, restored = select(epochs)
    spiked, spiked_restored = select([*epochs[:2], (0.8, 0.4, 1.0)])
    assert restored == spiked_restored == 1
    assert (early_stopping.test_accuracy_max, spiked.test_accuracy_max) == (0.6, 1.0)


def test_equal_accuracy_is_decided_by_the_lower_loss_and_equal_both_by_the_earlier():
    assert select([(0.9, 0.5, 0), (0.9, 0.4, 0), (0.9, 0.4, 0), (0.9, 0.6, 0)])[1] == 1


def test_patience_counts_from_the_last_improvement():
    early_stopping, _ = select([(0.5, 1, 0), (0.6, 1, 0), (0.6, 1, 0)], patience=2)
    assert not early_stopping.exhausted
    early_stopping, _ = select([(0.5, 1, 0), (0.6, 1, 0), (0.6, 1, 0), (0.6, 1, 0)], patience=2)
    assert early_stopping.exhausted


def test_forgetting_the_best_lets_a_worse_epoch_win_but_keeps_the_history():
    early_stopping, model = EarlyStopping(10), Counter()
    early_stopping.observe(EpochMetrics(0, 0.9, 0.1, 0.9), model)
    early_stopping.reset()
    early_stopping.observe(EpochMetrics(1, 0.4, 0.8, 0.4), model)
    assert early_stopping.restore(model).epoch == 1
    assert early_stopping.test_accuracy_max == 0.9


def test_nothing_observed_is_nothing_to_restore():
    with pytest.raises(ValueError, match="no epoch"):
        EarlyStopping(1).restore(Counter())
