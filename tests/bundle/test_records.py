from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest

from rbm_bundle.record_spec import RecordColumn
from rbm_bundle.records import (
    RARE,
    SEPARATOR,
    GraphInput,
    RecordError,
    columns_of,
    encode_columns,
    graph_inputs,
    read_categories,
    read_numbers,
    read_words,
)

YEAR = RecordColumn(name="year", kind="number", num_features=2, fill=(2000.0,), has_gaps=True)
SECTION = RecordColumn(name="section", kind="category", num_features=3, names=("a", "b"))
TITLE = RecordColumn(name="title", kind="text", num_features=9)
TAGS = RecordColumn(name="tags", kind="tags", num_features=9)
WHEN = RecordColumn(name="when", kind="time", num_features=5, fill=(2020.0, 6.0, 15.0, 3.0, 12.0))
ALL = (YEAR, SECTION, TITLE, TAGS, WHEN)


def encode(*records):
    return encode_columns(columns_of(records, [column.name for column in ALL]), ALL)


def test_what_is_encoded_is_what_the_graph_takes():
    inputs = encode({"year": 1999, "title": "x"}, {"tags": ["t"]})
    kinds = {"f": "float64", "O": "string"}
    found = {name: GraphInput(kinds[array.dtype.kind], array.shape[1]) for name, array in inputs.items()}
    assert found == graph_inputs(ALL)
    assert list(inputs) == ["numbers", "missing", "categories", "words0", "words1"]
    assert {len(array) for array in inputs.values()} == {2}


def test_inputs_that_nothing_fills_are_left_out():
    assert list(graph_inputs([TITLE])) == list(encode_columns({"title": ["x"]}, [TITLE])) == ["words0"]


def test_an_empty_record_is_all_missing_values():
    inputs = encode({})
    np.testing.assert_array_equal(inputs["numbers"], [[2000, 2020, 6, 15, 3, 12]])
    np.testing.assert_array_equal(inputs["missing"], [[1]])
    assert (inputs["categories"].tolist(), inputs["words0"].tolist()) == ([[""]], [[""]])


def test_null_and_a_field_left_out_are_the_same():
    empty, nulls = encode({}), encode(dict.fromkeys(["year", "section", "title", "tags", "when"]))
    for name, array in empty.items():
        np.testing.assert_array_equal(array, nulls[name])


@pytest.mark.parametrize("value", [3, 3.0, True, Decimal("3.0"), " 3.0 ", "3e0"])
def test_whatever_is_a_number_is_read_as_one(value):
    assert read_numbers("year", "number", [value])[0, 0] == (1 if value is True else 3)


def test_a_blank_string_is_no_number():
    assert np.isnan(read_numbers("year", "number", [" ", "", None])).all()


@pytest.mark.parametrize(
    "value",
    [datetime(2024, 2, 29, 23, 59), "2024-02-29T23:59:00", "2024-02-29 23:59", " 2024-02-29T23 "],
)
def test_a_time_is_its_parts(value):
    assert read_numbers("when", "time", [value]).tolist() == [[2024, 2, 29, 3, 23]]


def test_a_date_is_its_first_hour():
    expected = [[2024, 3, 1, 4, 0]]
    assert read_numbers("when", "time", [date(2024, 3, 1)]).tolist() == expected
    assert read_numbers("when", "time", ["2024-03-01"]).tolist() == expected


def test_a_time_with_a_zone_is_one_of_utc():
    late = datetime(2024, 3, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    parts = read_numbers("when", "time", [late, "2024-03-01T01:00+02:00", "2024-02-29T23:00Z"])
    assert parts.tolist() == [[2024, 2, 29, 3, 23]] * 3
    assert late.astimezone(UTC).hour == 23


def test_words_are_those_of_any_alphabet_without_case_or_accents_composed_in_two_ways():
    found = read_words("title", "text", ["Über-STRASSE, cafe\u0301 x_1!", "数据 КНИГА", "  \t?", None])
    assert found[0] == read_words("title", "text", ["üBER straße CAFÉ x_1"])[0]
    assert found[0].split(SEPARATOR) == ["über", "strasse", "café", "x_1"]
    assert found[1].split(SEPARATOR) == ["数据", "книга"]
    assert found[2:] == ["", ""]


def test_tags_keep_their_case_and_spaces_and_count_once():
    [found] = read_words("tags", "tags", [["Big Data", " ml ", "ml", "", 7, f"a{SEPARATOR}b\0"]])
    assert found.split(SEPARATOR) == ["Big Data", "ml", "7", "a b"]


def test_categories_without_a_feature_of_their_own_have_one_name():
    assert encode({"section": "a"}, {"section": "zz"}, {"section": " b "}, {"section": ""})[
        "categories"
    ].ravel().tolist() == ["a", RARE, "b", ""]


def test_no_category_can_be_called_as_the_rare_ones_are():
    assert read_categories("section", [RARE, f" {RARE} ", "\0"]) == [""] * 3


def test_a_number_is_a_category_by_how_it_is_written():
    assert read_categories("section", [1, 1.0, 1.5, True, "1"]) == ["1", "1", "1.5", "true", "1"]


def test_text_that_cannot_be_written_as_utf_8_is_taken_all_the_same():
    assert read_categories("section", ["a\ud800"]) == ["a?"]
    assert read_words("title", "text", ["a\ud800b"])[0].split(SEPARATOR) == ["a", "b"]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("year", "many", "expected a finite number within ±1e+15, got 'many'"),
        ("year", float("nan"), "expected a finite number within ±1e+15, got nan"),
        ("year", 1e16, "expected a finite number"),
        ("year", 10**400, "expected a finite number"),
        ("year", [1], r"expected a finite number .*, got \[1\]"),
        ("section", ["a"], "expected a string, number or boolean"),
        ("title", 3, "expected a string, got 3"),
        ("title", date(2024, 1, 2), "expected a string, got 2024-01-02"),
        ("tags", "ml", "expected a list of strings, got 'ml'"),
        ("tags", [None], "expected a list of strings"),
        ("tags", [True], "expected a list of strings"),
        ("when", "yesterday", "expected a date or time as in ISO 8601, got 'yesterday'"),
        ("when", 1700000000, "expected a date or time"),
        ("when", "9999-12-31T23:00-05:00", "expected a date or time"),
    ],
)
def test_a_value_of_another_kind_is_refused_at_its_place(field, value, said):
    with pytest.raises(RecordError, match=rf"records\[1\]\.{field}: {said}".replace("+", r"\+")):
        encode({}, {field: value})


def test_an_unknown_field_is_refused_with_the_one_that_was_meant():
    with pytest.raises(RecordError, match=r"records\[1\]\.titel: unknown field \(did you mean title\?\)"):
        encode({}, {"titel": "x"})
    with pytest.raises(RecordError, match=r"records\[0\]\.q: unknown field$"):
        encode({"q": 1})
