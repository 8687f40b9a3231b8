import pytest
from pydantic import ValidationError

from rbm_training.benchmark.published import Published, PublishedAccuracy, PublishedRow, load_published
from rbm_training.benchmark.tables import DATASETS, METHODS


def rows(**wanted):
    published = load_published().rows
    return [row for row in published if all(getattr(row, key) == value for key, value in wanted.items())]


def test_the_package_ships_with_numbers_as_they_were_printed():
    (row,) = rows(source="glnn", setting="transductive", method="GLNN")
    assert row.percent["cora-cpf"] == PublishedAccuracy(mean=80.54, std=1.35)
    (row,) = rows(source="glnn", setting="inductive", method="GLNN", measure="production_accuracy")
    assert row.percent["cora-cpf"] == PublishedAccuracy(mean=78.28, std=None)


def test_published_numbers_have_our_names_of_datasets_and_methods():
    every = load_published().rows
    assert {name for row in every for name in row.percent} <= set(DATASETS)
    assert {row.counterpart for row in every if row.counterpart} <= {"teacher", *METHODS}


def test_cora_and_citeseer_of_protocol_a_are_not_those_of_the_public_split():
    assert {name for row in rows(protocol="cpf") for name in row.percent}.isdisjoint({"cora", "citeseer"})


def test_no_table_has_a_method_twice():
    keys = [(row.source, row.protocol, row.setting, row.measure, row.method) for row in load_published().rows]
    assert len(set(keys)) == len(keys)


def test_a_row_of_an_unknown_source_is_refused():
    row = PublishedRow(
        source="hearsay",
        protocol="cpf",
        setting="transductive",
        measure="test_accuracy",
        method="GLNN",
        percent={"cora-cpf": PublishedAccuracy(mean=99.0)},
    )
    with pytest.raises(ValidationError, match=r"rows of sources \['hearsay'\]"):
        Published(sources={}, missing={}, rows=(row,))
