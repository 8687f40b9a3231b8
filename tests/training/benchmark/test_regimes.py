"""Regimes are named by validation on five seeds, and confirmed by test accuracy on others."""

import pytest
from scipy.stats import ttest_rel

from rbm_training.benchmark.regime_tables import regime_table
from rbm_training.benchmark.regimes import find_regimes, holm
from rbm_training.benchmark.statistics import group_by_cell
from tests.training.benchmark.run_lines import cells_of, run_line

LEADS = [0.010, 0.012, 0.011, 0.009, 0.013]
NOISE = [0.010, -0.012, 0.011, -0.009, 0.013]


def pair(named, fresh, method="rbm", rival="mlp-flops", **changes):
    """Runs of two students: leads on validation of seeds from 0, and on test of seeds from 5."""
    lines = []
    for seed, lead in [*enumerate(named), *enumerate(fresh, start=5)]:
        plain = {"val_accuracy": 0.8, "test_accuracy": 0.7, "seed": seed, **changes}
        on = "val_accuracy" if seed < 5 else "test_accuracy"
        lines.append(run_line(method=rival, **plain))
        lines.append(run_line(method=method, **{**plain, on: plain[on] + lead}))
    return lines


def regimes_of(*pairs):
    return find_regimes(group_by_cell([line for lines in pairs for line in lines]))


def test_a_regime_is_named_by_validation_and_confirmed_by_test_accuracy_of_other_seeds():
    (regime,) = regimes_of(pair(LEADS, LEADS))
    assert (regime.method, regime.rival, regime.cell.dataset) == ("rbm", "mlp-flops", "cora")
    assert regime.named.mean == pytest.approx(0.011)
    assert (regime.fresh.mean, regime.fresh.num_seeds) == (pytest.approx(0.011), 5)
    assert regime.p_value == pytest.approx(ttest_rel([0.7 + lead for lead in LEADS], [0.7] * 5).pvalue)
    assert regime.is_confirmed


@pytest.mark.parametrize("named", [NOISE, [-lead for lead in LEADS], LEADS[:2]])
def test_what_validation_does_not_see_is_no_regime_whatever_test_accuracy_says(named):
    assert regimes_of(pair(named, LEADS)) == []


@pytest.mark.parametrize(
    ("fresh", "verdict"),
    [
        (LEADS, "**yes**"),
        (NOISE, "no"),
        ([-lead for lead in LEADS], "no"),
        (LEADS[:4], "too few fresh seeds"),
        ([], "too few fresh seeds"),
    ],
)
def test_a_regime_needs_five_fresh_seeds_that_agree(fresh, verdict):
    (row,) = cells_of(regime_table(regimes_of(pair(LEADS, fresh))))[1:]
    assert (row[8], row[-1]) == (str(len(fresh)), verdict)


def test_a_variant_is_held_against_the_mlp_of_its_own_flops():
    head = pair(LEADS, LEADS, method="rbm-head", rival="mlp-flops-head")
    assert [regime.rival for regime in regimes_of(head)] == ["mlp-flops-head"]
    assert regimes_of(pair(LEADS, LEADS, method="rbm-head", rival="mlp-flops")) == []


def test_more_regimes_make_each_harder_to_confirm():
    weak = [0.010, 0.001, 0.012, 0.002, 0.011]
    graphs = [pair(LEADS, weak, dataset=name) for name in ("cora", "citeseer", "pubmed")]
    (alone,) = regimes_of(graphs[0])
    together = regimes_of(*graphs)
    assert alone.is_confirmed
    assert [regime.p_value for regime in together] == [pytest.approx(3 * alone.p_value)] * 3
    assert not any(regime.is_confirmed for regime in together)


def test_the_correction_is_that_of_a_hand_calculation():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
