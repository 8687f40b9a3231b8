from itertools import count

import pytest

from rbm_bundle.bundle import read_manifest
from rbm_bundle.comparison import notes_on
from tests.bundles import RECORDS, TINY

BUNDLE_IDS = map("{:064x}".format, count())
COLUMNS = tuple(f"c{number}" for number in range(12))


def changed(manifest, part=None, **update):
    """A manifest of another bundle, with some of its fields, or some of a part of it, changed."""
    if part is not None:
        update = {part: getattr(manifest, part).model_copy(update=update)}
    return manifest.model_copy(update={"bundle_id": next(BUNDLE_IDS)} | update)


def lines_on(manifest, former):
    prefix = "unlike version 4: "
    notes = notes_on(manifest, former, 4)
    assert all(note.startswith(prefix) for note in notes)
    return [note.removeprefix(prefix) for note in notes]


@pytest.fixture
def tiny():
    return read_manifest(TINY)


@pytest.fixture
def records():
    return read_manifest(RECORDS)


def test_a_bundle_is_the_same_byte_for_byte_or_another_of_which_callers_notice_nothing(tiny):
    assert notes_on(tiny, tiny, 4) == ["the same as version 4, byte for byte"]
    assert notes_on(changed(tiny), tiny, 4) == []


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (("red", "green"), "classes without 'blue'"),
        (("red", "green", "blue", "grün"), "classes with 'grün'"),
        (("red", "green", "grey"), "classes without 'blue' and with 'grey'"),
        (("green", "red", "blue"), "classes in another order"),
        (("red", "green", "blue", *"abcdefg"), "classes with 'a', 'b', 'c', 'd', 'e' and 2 more"),
    ],
)
def test_classes_that_come_go_or_move_are_told(tiny, labels, told):
    assert lines_on(changed(tiny, labels=labels), tiny) == [told]


def test_feature_columns_are_told_by_name_and_by_number(tiny):
    named = changed(tiny, "features", names=COLUMNS)
    fewer = changed(tiny, "features", names=COLUMNS[:-1], num_features=11)
    moved = changed(tiny, "features", names=COLUMNS[::-1])
    assert lines_on(fewer, named) == [
        "feature columns without 'c11'",
        "11 features instead of 12",
    ]
    assert lines_on(moved, named) == ["feature columns in another order"]


def test_record_fields_are_told_by_name_and_kind_in_whatever_order(records):
    spec = records.records
    year, price, *others = spec.columns
    renamed = (*others, year.model_copy(update={"name": "age"}), price)
    assert lines_on(changed(records, "records", columns=renamed), records) == [
        "record fields without 'year' and with 'age'"
    ]
    as_time = (year.model_copy(update={"kind": "text"}), price, *others)
    assert lines_on(changed(records, "records", columns=as_time), records) == [
        "record field 'year' of kind text instead of number"
    ]
    assert lines_on(changed(records, "records", columns=spec.columns[::-1]), records) == []


def test_features_made_of_records_are_not_counted(records):
    assert lines_on(changed(records, "features", num_features=40), records) == []


@pytest.mark.parametrize(
    ("former", "now", "told"),
    [
        ("integer", "string", ["node ids of kind string instead of integer"]),
        ("string", "range", ["node ids of kind range instead of string"]),
        ("range", "integer", []),
    ],
)
def test_ids_that_became_strings_or_numbers_are_told(tiny, former, now, told):
    before, after = (changed(tiny, "nodes", id_kind=kind) for kind in (former, now))
    assert lines_on(after, before) == told
