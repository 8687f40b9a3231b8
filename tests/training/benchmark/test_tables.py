import pytest

from rbm_training.benchmark.statistics import Difference, Estimate
from rbm_training.benchmark.tables import (
    TIED,
    accuracy_table,
    cost_table,
    dataset_order,
    difference_table,
    interval,
    method_order,
    percent,
    points,
    quantity,
    reliability_table,
    sections_of,
)
from tests.training.benchmark.run_lines import (
    HIGH,
    LOW,
    cells_of,
    digest_of,
    inductive_line,
    run_line,
    runs_of,
)


def only_section(lines):
    (section,) = sections_of(lines)
    return section


def test_methods_stand_in_the_order_of_the_field_with_rbm_last_and_variants_behind_their_original():
    names = ["rbm-frozen", "rbm", "novel", "mlp-flops-small", "mlp-flops", "mlp", "glnn", "moe", "mlp-deep"]
    expected = [
        "glnn",
        "mlp",
        "mlp-deep",
        "mlp-flops",
        "mlp-flops-small",
        "moe",
        "novel",
        "rbm",
        "rbm-frozen",
    ]
    assert sorted(names, key=method_order) == expected


def test_datasets_stand_as_papers_list_them_and_others_behind():
    names = ["zoo", "pubmed", "actor", "citeseer-cpf", "cora"]
    assert sorted(names, key=dataset_order) == ["cora", "citeseer-cpf", "pubmed", "actor", "zoo"]


def test_sections_stand_by_protocol_then_transductive_first_then_teacher():
    lines = [
        run_line(teacher="sage"),
        run_line(teacher="appnp-x3"),
        inductive_line(0.7, None),
        run_line(protocol="cpf"),
        inductive_line(0.7, None, protocol="cpf"),
    ]
    assert [section.title for section in sections_of(lines)] == [
        "Protocol cpf, transductive, teacher sage",
        "Protocol cpf, inductive, teacher sage",
        "Protocol public, transductive, teacher appnp-x3",
        "Protocol public, transductive, teacher sage",
        "Protocol public, inductive, teacher sage",
    ]


def test_accuracies_are_mean_and_deviation_and_what_is_missing_is_a_dash():
    lines = [
        *runs_of("rbm", [0.80, 0.82]),
        *runs_of("mlp", [0.75]),
        *runs_of("mlp", [0.70, 0.72], dataset="pubmed"),
    ]
    table = accuracy_table(only_section(lines), "test_accuracy")
    assert cells_of(table) == [
        ["dataset", "seeds", "teacher", "mlp", "rbm"],
        ["cora", "2", "81.0 ± 0.0", "75.0 (n = 1)", "81.0 ± 1.4"],
        ["pubmed", "2", "81.0 ± 0.0", "71.0 ± 1.4", "–"],
    ]


def test_single_seeds_have_no_deviation_and_no_interval():
    section = only_section([run_line(), run_line(method="mlp", test_accuracy=0.8)])
    assert cells_of(accuracy_table(section, "test_accuracy"))[1] == ["cora", "1", "81.0", "80.0", "82.0"]
    found = cells_of(difference_table(section))[1]
    assert found == ["cora", "rbm", "mlp", "1", "+1.0", "+2.0", "–", "+2.0"]


def test_only_a_student_that_leads_every_other_one_is_bold():
    decided = [*runs_of("rbm", HIGH), *runs_of("mlp", LOW), *runs_of("krd", LOW)]
    table = accuracy_table(only_section(decided), "test_accuracy")
    assert cells_of(table)[1][3:] == ["80.7 ± 0.6", "80.7 ± 0.6", "**90.3 ± 0.6**"]
    open_race = [*decided, *runs_of("moe", [0.89, 0.92, 0.89])]
    assert "**" not in accuracy_table(only_section(open_race), "test_accuracy")


def test_inductive_measures_have_no_teacher_and_neither_row_nor_table_when_no_run_has_them():
    section = only_section([inductive_line(0.7, 0.8), inductive_line(0.6, None, dataset="pubmed")])
    assert [row[0] for row in cells_of(accuracy_table(section, "test_accuracy"))[1:]] == ["cora", "pubmed"]
    assert cells_of(accuracy_table(section, "test_accuracy"))[1] == ["cora", "1", "81.0", "70.0"]
    assert cells_of(accuracy_table(section, "observed_test_accuracy"))[1:] == [["cora", "1", "80.0"]]
    assert cells_of(accuracy_table(section, "production_accuracy"))[1] == ["cora", "1", "78.0"]
    assert accuracy_table(only_section([inductive_line(0.7, None)]), "production_accuracy") is None


def test_differences_name_the_baseline_and_say_when_fewer_seeds_were_shared():
    lines = [
        *runs_of("rbm", HIGH, teacher_test_accuracy=0.9),
        *runs_of("mlp", [0.80]),
        *runs_of("mlp-flops", LOW, val_accuracy=0.99),
    ]
    header, row = cells_of(difference_table(only_section(lines)))
    assert header[4:] == ["− teacher", "− mlp", "− mlp of its FLOPs", "− best baseline"]
    assert row[:5] == ["cora", "rbm", "mlp-flops", "3", "+0.3 [−1.1, +1.8]"]
    assert row[5:] == ["+10.0 (n = 1)", "**+9.7 [+8.2, +11.1]**", "**+9.7 [+8.2, +11.1]**"]


def test_variants_of_rbm_have_rows_of_their_own_and_other_students_none():
    lines = [run_line(), run_line(method="rbm-frozen"), run_line(method="mlp")]
    assert [row[1] for row in cells_of(difference_table(only_section(lines)))[1:]] == ["rbm", "rbm-frozen"]
    assert difference_table(only_section(lines[2:])) is None


def test_reliability_names_the_worst_run():
    lines = [
        run_line(seed=7, test_accuracy=0.75, test_accuracy_max=0.76),
        run_line(dataset="pubmed", test_accuracy_max=None),
    ]
    assert cells_of(reliability_table(only_section(lines)))[1] == [
        *("rbm", "2", "−6.0 (cora, seed 7)", "1", "+1.0"),
    ]


def test_costs_are_means_in_three_digits():
    lines = [run_line(seconds=10), run_line(seed=1, seconds=13), run_line(method="mlp", dataset="pubmed")]
    section = only_section(lines)
    assert cells_of(cost_table(section, "seconds")) == [
        ["dataset", "mlp", "rbm"],
        ["cora", "–", "11.5"],
        ["pubmed", "12.5", "–"],
    ]
    assert cells_of(cost_table(section, "num_parameters"))[1] == ["cora", "–", "184 k"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12.54, "12.5"), (512, "512"), (999.6, "1.00 k"), (184_000, "184 k"), (2_309_999, "2.31 M")],
)
def test_quantities_have_three_digits_and_a_unit(value, text):
    assert quantity(value) == text


@pytest.mark.parametrize(
    ("difference", "text"), [(0.0123, "+1.2"), (-0.0004, "0.0"), (-0.0006, "−0.1"), (0.0, "0.0")]
)
def test_points_have_a_sign_unless_they_are_zero(difference, text):
    assert points(difference) == text


def test_a_cell_breaks_only_where_it_stays_readable():
    assert percent(Estimate(0.821, 0.009, 3), num_seeds=5).split(" ") == [
        *("82.1", f"±{TIED}0.9", f"(n{TIED}={TIED}3)"),
    ]
    assert interval(Difference(0.01, 0.0072, 5), num_seeds=5).split(" ") == ["+1.0", f"[−1.0,{TIED}+3.0]"]


def test_an_equivalent_student_is_marked():
    assert interval(Difference(0.001, 0.0015, 5), num_seeds=5).endswith(f"]{TIED}≈")


def test_each_variant_is_compared_with_the_mlp_of_its_own_flops():
    lines = [
        *(run_line(method=f"rbm{kind}") for kind in ("", "-head", "-small")),
        run_line(method="mlp-flops", test_accuracy=0.8),
        run_line(method="mlp-flops-head", test_accuracy=0.7),
    ]
    rows = cells_of(difference_table(only_section(lines)))[1:]
    assert [(row[1], row[6]) for row in rows] == [("rbm-head", "+12.0"), ("rbm", "+2.0"), ("rbm-small", "–")]


def test_a_student_that_two_methods_come_to_is_named_once():
    same = {"config_digest": digest_of("a")}
    lines = [run_line(), run_line(method="mlp", **same), run_line(method="mlp-flops-head", **same)]
    assert cells_of(accuracy_table(only_section(lines), "test_accuracy")) == [
        ["dataset", "seeds", "teacher", "mlp", "mlp-flops-head", "rbm"],
        ["cora", "1", "81.0", "82.0", "as mlp", "82.0"],
    ]


def test_likeness_to_the_teacher_has_tables_and_differences():
    section = only_section([run_line(kl=0.0123), run_line(method="mlp", agreement=0.85)])
    assert cells_of(accuracy_table(section, "kl"))[1] == ["cora", "1", "12.50", "1.23"]
    assert cells_of(accuracy_table(section, "agreement"))[1] == ["cora", "1", "85.0", "90.0"]
    assert cells_of(difference_table(section, "agreement"))[1][4:6] == ["–", "+5.0"]
    assert difference_table(only_section([run_line(agreement=None)]), "agreement") is None
