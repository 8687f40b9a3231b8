"""What was run otherwise stands apart in the tables."""

from rbm_training.benchmark.configurations import apart
from tests.training.benchmark.run_lines import digest_of, run_line

FIRST, SECOND = digest_of("first"), digest_of("second")


def test_runs_of_one_configuration_keep_their_names():
    lines = [run_line(), run_line(seed=1), run_line(method="mlp"), run_line(dataset="pubmed")]
    assert apart(lines) == lines


def test_two_configurations_of_a_method_are_two_methods_of_their_cell():
    lines = [
        run_line(config_digest=FIRST),
        run_line(seed=1, config_digest=SECOND),
        run_line(method="mlp"),
        run_line(dataset="pubmed", config_digest=FIRST),
    ]
    names = [line.method for line in apart(lines)]
    assert names == [f"rbm-{FIRST[:6]}", f"rbm-{SECOND[:6]}", "mlp", "rbm"]


def test_lines_of_before_are_one_configuration_of_their_own_graph():
    old = {"config_digest": None, "data_digest": None}
    lines = [run_line(method="glnn", **old), run_line(method="glnn", seed=1, **old)]
    assert apart(lines) == lines
    found = apart([*lines, run_line(method="glnn", seed=2)])
    assert [line.dataset for line in found] == ["cora-before", "cora-before", "cora-dddddd"]


def test_two_graphs_of_one_name_are_never_in_one_cell():
    found = apart([run_line(), run_line(method="mlp", data_digest="e" * 16)])
    assert [line.dataset for line in found] == ["cora-dddddd", "cora-eeeeee"]
