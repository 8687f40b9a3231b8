from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from rbm_training.config import DatasetConfig, FeaturesConfig
from rbm_training.data.columns import are_plain_numbers, from_bytes, raw_columns
from rbm_training.data.graph import GraphError
from rbm_training.data.loading import load_dataset
from rbm_training.data.readers.parquet import load_parquet
from tests.training.column_tables import write_mixed
from tests.training.objects import write_npz


def columns(config=None, **values):
    return raw_columns("nodes", pa.table(values), FeaturesConfig(columns=config or {}))


def kind(values, nodes=None):
    nodes = np.arange(len(values)) if nodes is None else np.array(nodes)
    return columns(x=values).kind("x", nodes)


TITLES = [f"title of number {index}" for index in range(6)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3], "number"),
        ([1.5, None, 3], "number"),
        ([True, False, None], "number"),
        ([Decimal("1.50"), Decimal("2.25")], "number"),
        ([date(2024, 1, 1), None], "time"),
        ([datetime(2024, 1, 1, 3), None], "time"),
        (pa.array([1], pa.timestamp("ns", "Europe/Berlin")), "time"),
        ([["a", "b"], None], "tags"),
        (pa.array([["a"]], pa.list_(pa.string(), 1)), "tags"),
        (pa.array([["a"]], pa.large_list(pa.large_string())), "tags"),
        (["a", "b", "a", "b", None], "category"),
        (pa.array(TITLES).dictionary_encode(), "category"),
        (["ab", "cd", "ef"], "category"),
        (TITLES, "text"),
        (TITLES[:1] * 3, "category"),
    ],
)
def test_the_kind_of_a_column_is_guessed_from_its_type_and_its_strings(values, expected):
    assert kind(values) == expected


def test_the_kind_of_strings_is_guessed_at_observed_nodes_alone():
    values = [*(["a kind"] * 6), *TITLES]
    assert (kind(values, range(6)), kind(values)) == ("category", "text")


def test_the_experiment_has_the_last_word_on_a_kind():
    assert columns({"x": "category"}, x=[1, 2]).kind("x", np.arange(2)) == "category"


def test_a_column_may_be_dropped():
    assert columns({"x": "drop"}, x=[b"?"], y=[1]).names == ["y"]


def test_times_are_in_utc_and_decimals_are_floats():
    berlin = pa.array([datetime(2024, 6, 1, 12)]).cast(pa.timestamp("ns", "UTC"))
    raw = columns(
        when=berlin.cast(pa.timestamp("ns", "Europe/Berlin")), day=[date(2024, 1, 2)], p=[Decimal("1.50")]
    )
    assert raw.values("when") == [datetime(2024, 6, 1, 12)]
    assert raw.values("day") == [datetime(2024, 1, 2)]
    assert raw.values("p") == [1.5]
    assert raw.records(np.array([0])) == [
        {"when": "2024-06-01T12:00:00", "day": "2024-01-02T00:00:00", "p": 1.5}
    ]


def test_columns_go_to_bytes_and_back():
    raw = columns(x=pa.array(["a", None]).dictionary_encode(), y=[["t"], []])
    found = from_bytes("nodes", np.frombuffer(raw.to_bytes(), np.uint8), raw.config)
    assert found.sha256 == raw.sha256
    assert [found.values(name) for name in found.names] == [["a", None], [["t"], []]]


def test_the_digest_tells_other_values_and_other_kinds_apart():
    digests = [columns(x=[1]), columns(x=[2]), columns(y=[1]), columns({"x": "category"}, x=[1])]
    assert len({raw.sha256 for raw in digests}) == 4


@pytest.mark.parametrize(
    ("table", "is_plain"),
    [
        ({"x": [1, 2], "y": [0.5, 1], "z": [True, False]}, True),
        ({"x": pa.array([1, 2]).dictionary_encode()}, True),
        ({"x": [1, None]}, False),
        ({"x": ["1", "2"]}, False),
        ({"x": [Decimal("1.5")]}, False),
    ],
)
def test_numbers_without_gaps_are_plain(table, is_plain):
    assert are_plain_numbers(pa.table(table)) == is_plain


def test_columns_that_the_experiment_misspells_are_refused():
    with pytest.raises(GraphError, match=r'found no column yaer; wanted .* year; did you mean "year"'):
        columns({"yaer": "number"}, year=[1])


def test_nothing_left_is_refused():
    with pytest.raises(GraphError, match="0 columns"):
        columns({"x": "drop"}, x=[1])


def test_the_experiment_cannot_speak_of_columns_that_are_not_there(tmp_path):
    write_npz(tmp_path / "mine.npz")
    config = DatasetConfig(kind="files", path=tmp_path / "mine.npz")
    with pytest.raises(GraphError, match=r"\[features\].* wanted a folder whose nodes"):
        load_dataset(config, FeaturesConfig(min_count=3))


def test_plain_numbers_stay_as_they_are_unless_the_experiment_says_something(tmp_path):
    plain = {"title": None, "tags": None, "when": None, "section": None, "price": None, "open": None}
    folder = write_mixed(tmp_path / "mine", **plain, year=[*range(80)])
    dataset = load_parquet(folder, "mine")
    assert dataset.columns is None
    assert dataset.graph.features[:, 0].tolist() == [*range(80)]
    said = load_parquet(folder, "mine", FeaturesConfig(columns={"year": "number"}))
    assert said.graph.dense_features().std() == pytest.approx(1)


def test_nan_is_a_gap():
    table = pa.table({"x": [1.0, float("nan"), 3.0]})
    assert not are_plain_numbers(table)
    assert raw_columns("nodes", table, FeaturesConfig()).values("x") == [1.0, None, 3.0]
