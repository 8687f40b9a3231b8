import pytest

from rbm_training.benchmark.published import Published, PublishedAccuracy, PublishedRow, Source
from rbm_training.benchmark.published_tables import render_published
from rbm_training.benchmark.tables import sections_of
from tests.training.benchmark.run_lines import cells_of, inductive_line, run_line, runs_of, untied


def row(method, counterpart, source="paper", **percent):
    return PublishedRow(
        source=source,
        protocol="cpf",
        setting="transductive",
        measure="test_accuracy",
        method=method,
        teacher=None if counterpart == "teacher" else "SAGE",
        counterpart=counterpart,
        percent={name: PublishedAccuracy(mean=mean, std=std) for name, (mean, std) in percent.items()},
    )


PUBLISHED = Published(
    sources={"paper": Source(reference="A Paper"), "other": Source(reference="Other", caution="odd split")},
    missing={"public": "nothing was to be had."},
    rows=(
        row("SAGE", "teacher", pubmed=(75.39, 2.09)),
        row("GLNN", "glnn", pubmed=(75.42, None)),
        row("Newer", None, source="other", **{"amazon-photo": (93.0, 0.5)}),
    ),
)
PROTOCOL_A = {"protocol": "cpf", "dataset": "pubmed"}


def render(lines):
    return render_published(sections_of(lines), PUBLISHED)


def test_what_comes_nearest_here_stands_under_each_published_method_and_rbm_last():
    text = render([*runs_of("rbm", [0.78, 0.80], **PROTOCOL_A), *runs_of("glnn", [0.76], **PROTOCOL_A)])
    assert cells_of(text) == [
        ["method", "source", "pubmed", "amazon-photo"],
        ["SAGE", "paper", "75.39 ± 2.09", "–"],
        ["**teacher sage**", "here", "81.00 ± 0.00", "–"],
        ["GLNN, teacher SAGE", "paper", "75.42", "–"],
        ["**glnn, teacher sage**", "here", "76.00", "–"],
        ["Newer, teacher SAGE", "other \\*", "–", "93.00 ± 0.50"],
        ["**rbm, teacher sage**", "here", "79.00 ± 1.41", "–"],
    ]
    assert "- `other`: Other. \\* odd split." in untied(text)
    assert "- `paper`: A Paper.\n" in text


def test_each_teacher_of_ours_has_its_own_rows():
    text = render([run_line(**PROTOCOL_A), run_line(**PROTOCOL_A, teacher="appnp-x3")])
    names = [cells[0] for cells in cells_of(text)]
    assert names[-2:] == ["**rbm, teacher appnp-x3**", "**rbm, teacher sage**"]


def test_a_protocol_without_published_tables_says_so_and_cites_nothing():
    assert render([run_line(protocol="public")]) == "Protocol public: nothing was to be had.\n"


@pytest.mark.parametrize("lines", [[], [inductive_line(0.7, 0.8, **PROTOCOL_A)]])
def test_without_a_comparable_run_nothing_is_said(lines):
    assert render(lines) == ""
