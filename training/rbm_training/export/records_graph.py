"""The graph of records: scikit-learn's fitted transformers as ONNX, and the proof that it computes the same.

Dimension letters: G golden records, F features.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, StringTensorType
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from rbm_bundle.golden_records import GoldenRecords, check_features, golden_records
from rbm_bundle.record_spec import RecordsSpec
from rbm_bundle.records import graph_inputs
from rbm_training.data.column_features import WORDS, ColumnFeatures, fit_columns
from rbm_training.data.columns import RawColumns
from rbm_training.data.dataset import Dataset
from rbm_training.data.graph import Integers, Task
from rbm_training.export.parity import open_session

RECORDS_FILE: Final = "records.onnx"
GOLDEN_RECORDS_FILE: Final = "golden.records.json"
NUM_GOLDEN_RECORDS: Final = 32
ATOL: Final = 1e-5
OPSETS: Final = {"": 18, "ai.onnx.ml": 3}
TENSOR_TYPES: Final = {"float64": DoubleTensorType, "string": StringTensorType}


@dataclass(frozen=True, slots=True)
class RecordsPart:
    """What a bundle holds so that records are taken."""

    spec: RecordsSpec
    graph: bytes
    golden: GoldenRecords


def records_part_of(dataset: Dataset, task: Task, seed: int) -> RecordsPart | None:
    """What a task's features were made with, for its bundle; None where they came as numbers.

    Raises:
        BundleError: the graph does not give what scikit-learn gives.
    """
    if dataset.columns is None:
        return None
    fitted = fit_columns(dataset.columns, task.observed_nodes)
    return build_records_part(dataset.columns, fitted, task.observed_nodes, seed)


def build_records_part(raw: RawColumns, fitted: ColumnFeatures, nodes: Integers, seed: int) -> RecordsPart:
    """The graph of fitted columns, checked on records of some of the nodes and on an empty one.

    Raises:
        BundleError: it does not give what scikit-learn gives.
    """
    drawn = np.random.default_rng(seed).permutation(nodes)[: NUM_GOLDEN_RECORDS - 1]
    records = [*raw.records(drawn), {}]
    values = {name: [record.get(name) for record in records] for name in raw.names}
    features = fitted.transform(values).toarray()
    spec = RecordsSpec(
        file=RECORDS_FILE,
        golden_file=GOLDEN_RECORDS_FILE,
        num_golden=len(records),
        atol=ATOL,
        columns=fitted.columns,
    )
    golden = golden_records(records, features)
    graph = build_records_graph(fitted)
    computed: Any = open_session(graph).run(None, golden.inputs(spec))[0]
    check_features(computed, golden, spec, RECORDS_FILE)
    return RecordsPart(spec, graph, golden)


def build_records_graph(fitted: ColumnFeatures) -> bytes:
    """Fitted columns as a graph from their inputs to features (B, F)."""
    types = [
        (name, TENSOR_TYPES[given.dtype]([None, given.width]))
        for name, given in graph_inputs(fitted.columns).items()
    ]
    words = {"tokenexp": WORDS}
    model = convert_sklearn(
        fitted.transformer,
        "records",
        initial_types=types,
        final_types=[("features", DoubleTensorType([None, fitted.features.shape[1]]))],
        options={TfidfVectorizer: words, CountVectorizer: words},
        target_opset=OPSETS,
    )
    model.opset_import.sort(key=lambda opset: opset.domain)  # or their order is that of a set
    return bytes(model.SerializeToString())
