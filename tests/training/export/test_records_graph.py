import random

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from rbm_bundle.errors import BundleError
from rbm_bundle.records import columns_of, encode_columns
from rbm_training.config import FeaturesConfig
from rbm_training.data.column_features import fit_columns
from rbm_training.data.columns import raw_columns
from rbm_training.export.parity import open_session
from rbm_training.export.records_graph import build_records_graph, build_records_part
from tests.training.column_tables import mixed_columns

ALPHABETS = [
    "abcXYZ",
    "äßÉñİ",
    "бЖя",
    "数据图",
    "हिन्दी",
    "عرب",
    "①½٣",
    "e\u0301\u200d\ufb01",
    "🙂#.\0\x1f\t\n'",
]
TITLES = ["", " ", "Über STRASSE painting of no", "数据 graph cell and unknown words", "###", "\0"]
TAGS = ["Über", "straße", "painting", "数据", "cell", "graph", "and", "of", "never", "", " of "]
NUM_RECORDS = 10_000


@pytest.fixture(scope="module")
def raw():
    return raw_columns("nodes", pa.table(mixed_columns(200)), FeaturesConfig())


@pytest.fixture(scope="module")
def fitted(raw):
    return fit_columns(raw, np.arange(150))


def random_text(generator):
    words = [
        "".join(generator.choices(generator.choice(ALPHABETS), k=generator.randrange(6))) for _ in range(5)
    ]
    return " ".join([*words, generator.choice(TITLES)])


def random_record(generator):
    """A record of which any field may be missing, unknown or odd."""
    hour = generator.randrange(10, 24)
    record = {
        "year": generator.choice([generator.uniform(-1e6, 1e6), generator.randrange(1900, 2100), True]),
        "price": round(generator.uniform(0, 99), 2),
        "open": generator.random() < 0.5,
        "section": generator.choice(["a", "b", "c", "never", "", 7, random_text(generator)]),
        "title": random_text(generator),
        "tags": [generator.choice(TAGS) for _ in range(generator.randrange(4))],
        "when": f"{generator.randrange(1000, 9999)}-02-{generator.randrange(10, 28)}T{hour}:00",
    }
    kept = {name: value for name, value in record.items() if generator.random() < 0.9}
    return {name: None if generator.random() < 0.1 else value for name, value in kept.items()}


def test_ten_thousand_random_records_become_what_scikit_learn_makes_of_them(raw, fitted):
    generator = random.Random(5)
    columns = columns_of([random_record(generator) for _ in range(NUM_RECORDS)], raw.names)
    session = open_session(build_records_graph(fitted))
    [got] = session.run(None, encode_columns(columns, fitted.columns))
    expected = fitted.transform(columns).toarray()
    assert got.shape == expected.shape == (NUM_RECORDS, fitted.features.shape[1])
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert (expected != 0).any(axis=0).all()  # every feature occurs


def test_the_features_are_those_of_a_plain_pipeline_of_scikit_learn():
    generator = np.random.default_rng(3)
    years = np.where(generator.random(60) < 0.2, np.nan, generator.integers(1990, 2020, 60))
    sections = generator.choice(["a", "b", "c", ""], 60, p=[0.4, 0.4, 0.1, 0.1])
    sections[:2] = ["once", "single"]
    titles = [" ".join(generator.choice(["Red", "blue", "Größe", "x"], 4)) for _ in range(60)]
    raw = raw_columns(
        "nodes",
        pa.table({"year": pa.array(years, from_pandas=True), "section": sections, "title": titles}),
        FeaturesConfig(columns={"section": "category", "title": "text"}),
    )
    imputer = SimpleImputer(add_indicator=True)
    filled = imputer.fit_transform(years.reshape(-1, 1))
    encoder = OneHotEncoder(min_frequency=2, handle_unknown="infrequent_if_exist", sparse_output=False)
    parts = [
        StandardScaler().fit_transform(filled[:, :1]),
        filled[:, 1:],
        encoder.fit_transform(sections.reshape(-1, 1)),
        make_pipeline(TfidfVectorizer(token_pattern=r"\w+", min_df=2)).fit_transform(titles).toarray(),
    ]
    expected = np.hstack(parts)
    got = fit_columns(raw, np.arange(60)).features.toarray()
    as_columns = [sorted(map(tuple, matrix.T.round(5).tolist())) for matrix in (got, expected)]
    np.testing.assert_allclose(*map(np.array, as_columns), atol=2e-5)


@pytest.mark.parametrize(
    "values",
    [{"x": [1.0, None, 3.0]}, {"x": ["a", "a", "b"]}, {"x": [["t"], ["t"], None]}, {"x": [1.0, 2.0, 3.0]}],
    ids=["a number with gaps", "a category", "tags", "a number"],
)
def test_a_single_column_of_any_kind_has_a_graph(values):
    raw = raw_columns("nodes", pa.table(values), FeaturesConfig(columns={}))
    part = build_records_part(raw, fit_columns(raw, np.arange(3)), np.arange(3), seed=0)
    assert part.spec.num_golden == len(part.golden.rows) == 4


def test_one_record_alone_and_texts_without_a_word_are_computed(raw, fitted):
    session = open_session(build_records_graph(fitted))
    for records in ([{}], [{"title": "?"}, {"title": ""}]):
        columns = columns_of(records, raw.names)
        [got] = session.run(None, encode_columns(columns, fitted.columns))
        np.testing.assert_allclose(got, fitted.transform(columns).toarray(), atol=1e-6)


def test_the_golden_records_are_of_observed_nodes_and_an_empty_one(raw, fitted):
    part = build_records_part(raw, fitted, np.arange(150), seed=0)
    observed = raw.records(np.arange(150))
    assert all(row.record in observed for row in part.golden.rows[:-1])
    assert part.golden.rows[-1].record == {}
    assert part.spec.num_features == fitted.features.shape[1]


def test_a_graph_that_gives_something_else_is_refused(raw, fitted, monkeypatch):
    other = fit_columns(raw, np.arange(50, 200))
    monkeypatch.setattr(
        "rbm_training.export.records_graph.build_records_graph", lambda _: build_records_graph(other)
    )
    with pytest.raises((BundleError, onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument)):
        build_records_part(raw, fitted, np.arange(150), seed=0)


def test_a_graph_is_the_same_bytes_each_time_and_holds_few_operators(fitted):
    graph = build_records_graph(fitted)
    assert graph == build_records_graph(fitted)
    model = onnx.load_model_from_string(graph)
    assert [opset.domain for opset in model.opset_import] == ["", "ai.onnx.ml", "com.microsoft"]
    foreign = {node.op_type for node in model.graph.node if node.domain == "com.microsoft"}
    assert foreign == {"Tokenizer"}
