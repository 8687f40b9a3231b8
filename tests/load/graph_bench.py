"""How fast the exported graphs are: grouped over dense, ONNX Runtime over torch, sparse over dense input."""

from functools import partial

import numpy as np
import torch
from onnxruntime import InferenceSession

from rbm_bundle.features import CsrFeatures
from rbm_training.export.graphs import Form, build_graph
from rbm_training.export.parity import open_session
from rbm_training.students.student import Student
from tests.load.production import NUM_FEATURES, POSITION_WIDTH, production_student
from tests.load.timing import Call, compare, microseconds, times_faster
from tests.untrained import random_student

BATCHES = (1, 32, 128, 1024)
OUTPUTS = ["probabilities", "experts"]
NUM_WORDS, NUM_NONZEROS = 8415, 35  # with 64 position columns, 8,479 inputs

ModelInputs = dict[str, np.ndarray]


def graph_results() -> dict[str, float]:
    """Ratios, and beside each the microseconds of both sides."""
    student = production_student()
    results = _grouped_over_dense(student)
    results |= _runtime_over_torch(student)
    return results | _sparse_over_dense_input()


def _grouped_over_dense(student: Student) -> dict[str, float]:
    grouped, dense = (_session(student, form) for form in ("grouped", "dense"))
    results = {}
    for num_rows in BATCHES:
        model_inputs = dense_inputs(num_rows)
        results |= _side_by_side(
            num_rows, "grouped", _run(grouped, model_inputs), "dense", _run(dense, model_inputs)
        )
    return results


def _side_by_side(
    num_rows: int, ours: str, our_call: Call, theirs: str, their_call: Call
) -> dict[str, float]:
    """How many times faster the first is, and the microseconds of both."""
    our_seconds, their_seconds = compare(our_call, their_call)
    return {
        f"{ours}_over_{theirs}_b{num_rows}": times_faster(our_seconds, their_seconds),
        f"{ours}_b{num_rows}_us": microseconds(our_seconds),
        f"{theirs}_b{num_rows}_us": microseconds(their_seconds),
    }


def _runtime_over_torch(student: Student) -> dict[str, float]:
    model_inputs = dense_inputs(1)
    features, positions = (
        torch.from_numpy(model_inputs["features"]),
        torch.from_numpy(model_inputs["positions"]),
    )

    def eager() -> None:
        with torch.inference_mode():
            student(features, positions)

    ours, theirs = compare(_run(_session(student, "grouped"), model_inputs), eager)
    return {"ort_over_torch_eager_b1": times_faster(ours, theirs), "torch_eager_b1_us": microseconds(theirs)}


def _sparse_over_dense_input() -> dict[str, float]:
    student = random_student(
        NUM_WORDS, [NUM_WORDS + POSITION_WIDTH, 128, 5], seed=0, weight_std=0.05, num_experts=8
    )
    sparse = open_session(build_graph(student, "grouped", "sparse"))
    dense = _session(student, "grouped")
    results = {}
    for num_rows in (1, 128):
        words, positions = _bag_of_words(num_rows), _positions(num_rows)
        padded = words.to_padded()
        few = {"feature_ids": padded.ids, "feature_values": padded.values, "positions": positions}
        many = {"features": words.to_dense(), "positions": positions}
        results |= _side_by_side(
            num_rows, "sparse", _run(sparse, few), "grouped_dense_input", _run(dense, many)
        )
    return results


def _session(student: Student, form: Form) -> InferenceSession:
    return open_session(build_graph(student, form, "dense"))


def _run(session: InferenceSession, model_inputs: ModelInputs) -> Call:
    return partial(session.run, OUTPUTS, model_inputs)


def dense_inputs(num_rows: int) -> ModelInputs:
    """Rows for the production student."""
    features = np.random.default_rng(num_rows).standard_normal((num_rows, NUM_FEATURES), np.float32)
    return {"features": features, "positions": _positions(num_rows)}


def _positions(num_rows: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((num_rows, POSITION_WIDTH), np.float32)


def _bag_of_words(num_rows: int) -> CsrFeatures:
    generator = np.random.default_rng(0)
    words = [np.sort(generator.choice(NUM_WORDS, NUM_NONZEROS, replace=False)) for _ in range(num_rows)]
    indptr = np.arange(num_rows + 1) * NUM_NONZEROS
    ones = np.ones(num_rows * NUM_NONZEROS, np.float32)
    return CsrFeatures(indptr, np.concatenate(words), ones, NUM_WORDS)
