"""The graph that makes features of records, in a session of its own, on the CPU whatever the model runs on.

Dimension letters: B records, F features.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from rbm_bundle import Bundle, BundleError
from rbm_bundle.golden_records import check_features
from rbm_bundle.record_spec import RecordsSpec
from rbm_bundle.records import SEPARATOR, GraphInput, Inputs, graph_inputs
from rbm_service.errors import EngineError

# The graph fills a table of features, and one of words as wide as its longest text: rows at once are limited.
MAX_FEATURES_AT_ONCE: Final = 2**22
MAX_WORDS_AT_ONCE: Final = 2**18
DTYPES: Final = {"tensor(double)": "float64", "tensor(string)": "string"}
FATAL_ONLY: Final = 4  # what goes wrong is raised with a reason


class RecordGraph:
    """Features of records.

    Raises:
        BundleError: the graph cannot be read, or is not what the manifest says.
    """

    def __init__(self, bundle: Bundle, spec: RecordsSpec) -> None:
        self.spec: Final = spec
        self._path = bundle.path / spec.file
        self._session = _open_session(self._path)
        self._num_features = spec.num_features
        _check_inputs(self._path, self._session, spec)

    def self_test(self, bundle: Bundle) -> None:
        """Make the features of the golden records once more.

        Raises:
            BundleError: they are not within the manifest's tolerance.
        """
        golden = bundle.golden_records()
        if golden is not None:
            features = np.concatenate(list(self.features(golden.inputs(self.spec))))
            check_features(features, golden, self.spec, self._path)

    def features(self, inputs: Inputs) -> Iterator[npt.NDArray[np.float32]]:
        """The features of B records in parts, (b, F) each.

        Raises:
            EngineError: the graph gives something of another shape.
        """
        for rows in _parts(inputs, self._num_features):
            part = {name: array[rows] for name, array in inputs.items()}
            [features] = self._session.run(["features"], part)
            expected = (rows.stop - rows.start, self._num_features)
            if features.shape != expected:
                raise EngineError(f"expected features of shape {expected}, got {features.shape}")
            with np.errstate(over="ignore"):  # whoever takes them looks whether they are finite
                rounded = features.astype(np.float32)
            yield rounded


def _open_session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = FATAL_ONLY
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the unit of work is this session; ONNX Runtime has no base class for errors
        raise BundleError(path, f"a graph that ONNX Runtime refuses ({error})", "a graph") from error


def _check_inputs(path: Path, session: ort.InferenceSession, spec: RecordsSpec) -> None:
    wanted = graph_inputs(spec.columns)
    found = {
        each.name: GraphInput(DTYPES.get(each.type, each.type), each.shape[-1])
        for each in session.get_inputs()
    }
    if found != wanted:
        raise BundleError(path, f"inputs {_described(found)}", _described(wanted))
    outputs = [(each.name, each.type) for each in session.get_outputs()]
    if outputs != [("features", "tensor(double)")]:
        raise BundleError(path, f"outputs {outputs}", "features float64")


def _described(inputs: dict[str, GraphInput]) -> str:
    return ", ".join(f"{name} {given.dtype} (*, {given.width})" for name, given in inputs.items())


def _parts(inputs: Inputs, num_features: int) -> Iterator[slice]:
    """Rows that are computed at once."""
    num_rows = len(next(iter(inputs.values())))
    most_rows = max(1, MAX_FEATURES_AT_ONCE // num_features)
    start, longest = 0, 1
    for row, num_words in enumerate(_num_words(inputs, num_rows)):
        longest = max(longest, num_words)
        if row > start and (row - start == most_rows or (row - start + 1) * longest > MAX_WORDS_AT_ONCE):
            yield slice(start, row)
            start, longest = row, num_words
    yield slice(start, num_rows)


def _num_words(inputs: Inputs, num_rows: int) -> list[int]:
    """Words of the longest text of each record."""
    texts = [array[:, 0].tolist() for name, array in inputs.items() if name.startswith("words")]
    if not texts:
        return [1] * num_rows
    return [max(text.count(SEPARATOR) for text in row) + 1 for row in zip(*texts, strict=True)]
