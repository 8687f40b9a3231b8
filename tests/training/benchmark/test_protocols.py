import pytest

from rbm_training.benchmark.protocols import under_both_protocols
from tests.training.benchmark.run_lines import inductive_line, run_line

PHOTO = run_line(dataset="amazon-photo")
UNDER_A = run_line(protocol="cpf", dataset="cora-cpf")


def protocols_of(lines, dataset):
    return [line.protocol for line in under_both_protocols(lines) if line.dataset == dataset]


def test_a_graph_without_a_published_split_stands_under_both_protocols():
    assert protocols_of([PHOTO, UNDER_A], "amazon-photo") == ["public", "cpf"]
    twin = under_both_protocols([PHOTO, UNDER_A])[-1]
    assert twin == PHOTO.model_copy(update={"protocol": "cpf"})


def test_a_graph_with_a_published_split_stands_where_it_was_run():
    assert protocols_of([run_line(dataset="cora"), UNDER_A], "cora") == ["public"]


@pytest.mark.parametrize(
    "elsewhere",
    [
        inductive_line(0.7, None, protocol="cpf", dataset="cora-cpf"),
        run_line(protocol="cpf", dataset="cora-cpf", teacher="gcn"),
    ],
)
def test_no_table_of_the_other_protocol_is_begun(elsewhere):
    assert protocols_of([PHOTO, elsewhere], "amazon-photo") == ["public"]


def test_a_run_made_under_both_protocols_is_told_once_under_each():
    under_a = PHOTO.model_copy(update={"protocol": "cpf", "test_accuracy": 0.5})
    assert under_both_protocols([PHOTO, under_a, UNDER_A]) == [PHOTO, under_a, UNDER_A]
