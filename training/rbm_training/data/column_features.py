"""Features of raw columns: scikit-learn's transformers, fitted on observed nodes and on no label.

Dimension letters: N nodes, F features.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from rbm_bundle.record_spec import NUM_NUMBERS, WITH_WORDS, RecordColumn
from rbm_bundle.records import (
    SEPARATOR,
    Inputs,
    RecordError,
    Value,
    encode_columns,
    read_categories,
    read_numbers,
)
from rbm_training.data.columns import RawColumns
from rbm_training.data.graph import GraphError, Integers

WORDS: Final = f"[^{SEPARATOR}]+"
"""What scikit-learn and the graph take for a word; what is one has been decided before."""


@dataclass(frozen=True, slots=True, eq=False)
class ColumnFeatures:
    """How columns become features, and those of all N nodes.

    Shapes: features (N, F) sparse.
    """

    columns: tuple[RecordColumn, ...]
    transformer: ColumnTransformer
    features: sp.csr_array

    def transform(self, values: Mapping[str, Sequence[Value]]) -> sp.csr_array:
        """The features of some records, whose columns these are."""
        return _transformed(self.transformer, encode_columns(values, self.columns))


def fit_columns(raw: RawColumns, observed: Integers) -> ColumnFeatures:
    """Fit on the columns of observed nodes, and transform those of all.

    A run asks for the same several times, so that the columns keep what they were fitted as.

    Raises:
        GraphError: a value of another kind, or a column of which nothing is left to learn from.
    """
    key = observed.tobytes()
    if key not in raw.fits:
        raw.fits[key] = _fit(raw, observed)
    return raw.fits[key]


def _fit(raw: RawColumns, observed: Integers) -> ColumnFeatures:
    values = {name: raw.values(name) for name in raw.names}
    try:
        columns = [_column(raw, name, values[name], observed) for name in raw.names]
        inputs = encode_columns(values, columns)
    except RecordError as error:
        raise raw.error(f"{error.field}[{error.row}] = {error.got}", error.expected) from error
    _check_words(raw, columns, inputs, observed)
    transformer = ColumnTransformer(_transformers(raw, columns, inputs), sparse_threshold=1.0)
    fitted = transformer.fit_transform(_beside({name: array[observed] for name, array in inputs.items()}))
    all_observed = np.array_equal(observed, np.arange(raw.table.num_rows))
    features = _as_csr(fitted) if all_observed else _transformed(transformer, inputs)
    return ColumnFeatures(_with_sizes(columns, transformer), transformer, features)


def _column(raw: RawColumns, name: str, values: list[Value], observed: Integers) -> RecordColumn:
    """What the observed values of a column say of it; sizes are not known yet."""
    kind = raw.kind(name, observed)
    if kind in NUM_NUMBERS:
        numbers = read_numbers(name, kind, values)[observed]
        has_gaps = bool(np.isnan(numbers).any())
        if np.isnan(numbers).all():
            raise raw.error(
                f"column {name} without a value", f'some, or {name} = "drop" in [features.columns]'
            )
        fill = tuple(SimpleImputer().fit(numbers).statistics_.tolist())
        return RecordColumn(name=name, kind=kind, num_features=1, fill=fill, has_gaps=has_gaps)
    if kind == "category":
        found, config = read_categories(name, values), raw.config
        counts = Counter(found[node] for node in observed if found[node])
        kept = [each for each, count in counts.most_common(config.max_terms) if count >= config.min_count]
        if not kept:
            raise _too_rare(raw, name, counts)
        return RecordColumn(name=name, kind=kind, num_features=1, names=tuple(sorted(kept)))
    return RecordColumn(name=name, kind=kind, num_features=1)


def _check_words(
    raw: RawColumns, columns: Sequence[RecordColumn], inputs: Inputs, observed: Integers
) -> None:
    """Refuse texts and tags without a term that enough observed nodes have."""
    names = [column.name for column in columns if column.kind in WITH_WORDS]
    for index, name in enumerate(names):
        counts: Counter[str] = Counter()
        for [text] in inputs[f"words{index}"][observed].tolist():
            counts.update(filter(None, set(text.split(SEPARATOR))))
            if counts and max(counts[term] for term in text.split(SEPARATOR)) >= raw.config.min_count:
                break
        else:
            raise _too_rare(raw, name, counts)


def _too_rare(raw: RawColumns, name: str, counts: Counter[str]) -> GraphError:
    return raw.error(
        f"column {name} of {len(counts)} different values or words, none of them in"
        f" {raw.config.min_count} nodes",
        f'a lower features.min_count, or {name} = "drop" in [features.columns]',
    )


def _transformers(
    raw: RawColumns, columns: Sequence[RecordColumn], inputs: Inputs
) -> list[tuple[str, Any, list[int] | int]]:
    """What scikit-learn does to each input, by the places of its columns side by side."""
    words: list[Callable[..., Any]] = [
        TfidfVectorizer if column.kind == "text" else CountVectorizer
        for column in columns
        if column.kind in WITH_WORDS
    ]
    made: list[tuple[str, Any, list[int] | int]] = []
    place = 0
    for name, array in inputs.items():
        places = list(range(place, place + array.shape[1]))
        place = places[-1] + 1
        if name == "numbers":
            made.append((name, StandardScaler(), places))
        elif name == "missing":
            made.append((name, "passthrough", places))
        elif name == "categories":
            made.append((name, OneHotEncoder(handle_unknown="ignore"), places))
        else:
            vectorizer = words.pop(0)(
                lowercase=False,
                token_pattern=WORDS,
                max_features=raw.config.max_terms,
                min_df=raw.config.min_count,
            )
            made.append((name, vectorizer, places[0]))
    return made


def _with_sizes(columns: Sequence[RecordColumn], fitted: ColumnTransformer) -> tuple[RecordColumn, ...]:
    """The columns with the number of features that each has become."""
    parts = fitted.named_transformers_
    categories = iter(parts["categories"].categories_ if "categories" in parts else ())
    words = iter([part for name, part in parts.items() if name.startswith("words")])

    def size(column: RecordColumn) -> int:
        if column.kind in NUM_NUMBERS:
            return NUM_NUMBERS[column.kind] + column.has_gaps
        return len(next(categories) if column.kind == "category" else next(words).vocabulary_)

    return tuple(column.model_copy(update={"num_features": size(column)}) for column in columns)


def _transformed(fitted: ColumnTransformer, inputs: Inputs) -> sp.csr_array:
    return _as_csr(fitted.transform(_beside(inputs)))


def _as_csr(features: Any) -> sp.csr_array:  # noqa: ANN401 - whichever kind scikit-learn gives
    if isinstance(features, np.ndarray):
        features = features.astype(np.float64)
    return sp.csr_array(features, dtype=np.float32)


def _beside(inputs: Inputs) -> npt.NDArray[Any]:
    """All inputs side by side, as one table of objects."""
    return np.concatenate([array.astype(object) for array in inputs.values()], axis=1)
