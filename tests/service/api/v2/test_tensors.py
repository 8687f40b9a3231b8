import json
import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rbm_service.api.v2.requests import InferRequest
from rbm_service.api.v2.tensors import listed_inputs, listed_outputs, read_query
from rbm_service.api.validation import parse
from rbm_service.errors import InvalidRequestError
from rbm_service.inference.preprocessing import encode
from tests.bundles import without_positions

MAX_ROWS = 8
FLOATS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, MAX_ROWS), st.just(12)),
    elements=st.floats(-1e6, 1e6, width=32, allow_nan=False),
)
IDS = arrays.arrays(np.int64, st.integers(1, MAX_ROWS))
STRINGS = st.lists(st.text(max_size=20), min_size=1, max_size=MAX_ROWS)


def tensor(name, datatype, shape, data=None, size=None):
    entry = {"name": name, "datatype": datatype, "shape": list(shape)}
    if data is not None:
        entry["data"] = data
    if size is not None:
        entry["parameters"] = {"binary_data_size": size}
    return entry


def read(manifest, *tensors, binary=b""):
    request = parse(json.dumps({"inputs": tensors}).encode(), InferRequest)
    return read_query(request.inputs, memoryview(binary), manifest, MAX_ROWS)


def refusal(manifest, *tensors, binary=b""):
    with pytest.raises(InvalidRequestError) as refused:
        read(manifest, *tensors, binary=binary)
    return refused.value.detail


def as_bytes(strings):
    encoded = [text.encode() for text in strings]
    return b"".join(struct.pack("<I", len(text)) + text for text in encoded)


def with_string_ids(manifest):
    return manifest.model_copy(update={"nodes": manifest.nodes.model_copy(update={"id_kind": "string"})})


@given(array=FLOATS, nested=st.booleans())
def test_floats_are_the_same_flat_nested_and_in_bytes(bundle, array, nested):
    data = array.tolist() if nested else array.ravel().tolist()
    from_json = read(bundle.manifest, tensor("features", "FP32", array.shape, data)).features
    raw = array.astype("<f4").tobytes()
    from_bytes = read(
        bundle.manifest, tensor("features", "FP32", array.shape, size=len(raw)), binary=raw
    ).features
    assert (from_json.astype(np.float32) == array).all()
    assert (from_bytes == array).all()
    assert from_bytes.dtype == np.float32


@given(array=IDS)
def test_integers_are_the_same_in_json_and_in_bytes(bundle, array):
    raw = array.astype("<i8").tobytes()
    entry = tensor("node_ids", "INT64", array.shape, size=len(raw))
    assert (read(bundle.manifest, entry, binary=raw).node_ids == array).all()
    entry = tensor("node_ids", "INT64", array.shape, array.tolist())
    assert (read(bundle.manifest, entry).node_ids == array).all()


@given(strings=STRINGS)
def test_strings_are_the_same_in_json_and_in_bytes(bundle, strings):
    manifest, raw = with_string_ids(bundle.manifest), as_bytes(strings)
    entry = tensor("node_ids", "BYTES", [len(strings)], size=len(raw))
    assert read(manifest, entry, binary=raw).node_ids == strings
    assert read(manifest, tensor("node_ids", "BYTES", [len(strings)], strings)).node_ids == strings


def test_bytes_become_what_the_graph_takes_without_a_copy(bundle):
    raw = np.arange(24, dtype="<f4").tobytes()
    query = read(bundle.manifest, tensor("features", "FP32", [2, 12], size=len(raw)), binary=raw)
    ids = read(bundle.manifest, tensor("node_ids", "INT64", [2], [100, 105]))
    rows = encode(ids, bundle, MAX_ROWS)
    query = type(query)(node_ids=ids.node_ids, features=query.features)
    fed = encode(query, bundle, MAX_ROWS).overrides["features"]
    assert np.shares_memory(fed, np.frombuffer(raw, np.uint8))
    assert rows.num_rows == 2


def test_bytes_that_lie_askew_are_put_straight(bundle):
    raw = b"x" + np.arange(12, dtype="<f4").tobytes()
    request = parse(
        json.dumps({"inputs": [tensor("features", "FP32", [1, 12], size=48)]}).encode(), InferRequest
    )
    features = read_query(request.inputs, memoryview(raw)[1:], bundle.manifest, MAX_ROWS).features
    assert features.flags.aligned
    assert features.tolist() == [list(range(12))]


def test_several_tensors_share_the_bytes_in_order(bundle):
    ids, positions = np.array([100, 105], "<i8"), np.ones((2, 4), "<f4")
    query = read(
        bundle.manifest,
        tensor("positions", "FP32", [2, 4], size=positions.nbytes),
        tensor("features", "FP32", [2, 12], [0.5] * 24),
        tensor("node_ids", "INT64", [2], size=ids.nbytes),
        binary=positions.tobytes() + ids.tobytes(),
    )
    assert query.node_ids.tolist() == [100, 105]
    assert (query.positions == 1).all()
    assert query.features.shape == (2, 12)


@pytest.mark.parametrize(
    ("entry", "binary", "said"),
    [
        (tensor("ids", "INT64", [1], [1]), b"", "inputs: expected each of node_ids, features,"),
        (tensor("node_ids", "FP32", [1], [1]), b"", "node_ids: expected datatype INT64, got FP32"),
        (tensor("node_ids", "BYTES", [1], ["1"]), b"", "node_ids: expected datatype INT64, got BYTES"),
        (
            tensor("node_ids", "INT64", [1, 1], [1]),
            b"",
            "node_ids: expected shape [-1] (-1: any size), got [1, 1]",
        ),
        (
            tensor("features", "FP32", [1, 11], [1] * 11),
            b"",
            "features: expected shape [-1, 12] (-1: any size), got [1, 11]",
        ),
        (
            tensor("features", "FP32", [12], [1] * 12),
            b"",
            "features: expected shape [-1, 12] (-1: any size), got [12]",
        ),
        (tensor("node_ids", "INT64", [0], []), b"", "node_ids: expected 1 to 8 rows, got 0"),
        (tensor("node_ids", "INT64", [9], [1] * 9), b"", "node_ids: expected 1 to 8 rows, got 9"),
        (tensor("node_ids", "INT64", [2], [1]), b"", "node_ids: expected 2 values for shape [2], got 1"),
        (tensor("node_ids", "INT64", [1], [[1]]), b"", "node_ids.data: expected shape [1], got rows"),
        (
            tensor("features", "FP32", [1, 12], [[1] * 11]),
            b"",
            "features.data: expected shape [1, 12], got rows",
        ),
        (tensor("node_ids", "INT64", [1]), b"", "node_ids: expected data or binary_data_size, got neither"),
        (
            tensor("node_ids", "INT64", [1], [1], 8),
            b"x" * 8,
            "node_ids: expected data or binary_data_size, got both",
        ),
        (
            tensor("node_ids", "INT64", [1], size=8),
            b"x" * 7,
            "expected 8 bytes behind the JSON, the sum of binary_data_size, got 7",
        ),
        (
            tensor("node_ids", "INT64", [1], size=8),
            b"x" * 9,
            "expected 8 bytes behind the JSON, the sum of binary_data_size, got 9",
        ),
        (
            tensor("node_ids", "INT64", [1], [1]),
            b"x",
            "expected 0 bytes behind the JSON, the sum of binary_data_size, got 1",
        ),
        (
            tensor("node_ids", "INT64", [2], size=8),
            b"x" * 8,
            "node_ids: expected 16 bytes for shape [2], got 8",
        ),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused_with_what_was_expected_and_what_came(
    bundle, entry, binary, said
):
    assert refusal(bundle.manifest, entry, binary=binary).startswith(said)


@pytest.mark.parametrize(
    ("binary", "said"),
    [
        (as_bytes(["a"]), "node_ids[1]: expected a string, got no more bytes"),
        (as_bytes(["a"]) + b"\x05\x00\x00\x00b", "node_ids[1]: expected a string of 5 bytes, got 1"),
        (as_bytes(["a", "b", "c"]), "node_ids: expected 10 bytes for shape [2], got 15"),
        (b"\x01\x00\x00\x00\xff" * 2, "node_ids[0]: expected UTF-8, got other bytes"),
        (b"\xff" * 10, "node_ids[0]: expected a string of 4294967295 bytes, got 6"),
    ],
)
def test_strings_that_do_not_fit_their_bytes_are_refused(bundle, binary, said):
    entry = tensor("node_ids", "BYTES", [2], size=len(binary))
    assert refusal(with_string_ids(bundle.manifest), entry, binary=binary) == said


def test_a_tensor_that_comes_twice_is_refused(bundle):
    ids = tensor("node_ids", "INT64", [1], [100])
    assert refusal(bundle.manifest, ids, ids).endswith("got node_ids twice")


def test_features_come_dense_or_as_a_pair_of_tensors(bundle):
    dense = tensor("features", "FP32", [1, 12], [0.5] * 12)
    ids = tensor("feature_ids", "INT64", [1, 2], [3, 12])
    values = tensor("feature_values", "FP32", [1, 2], [0.5, 0])
    assert len(read(bundle.manifest, ids, values).features) == 1
    expected = "inputs: expected features, or feature_ids and feature_values"
    assert refusal(bundle.manifest, ids) == f"{expected}, got feature_ids"
    assert refusal(bundle.manifest, values) == f"{expected}, got feature_values"
    got = "features, feature_ids, feature_values"
    assert refusal(bundle.manifest, dense, ids, values) == f"{expected}, got {got}"


def test_shared_memory_is_refused(bundle):
    entry = {**tensor("node_ids", "INT64", [1]), "parameters": {"shared_memory_region": "r"}}
    assert "shared memory" in refusal(bundle.manifest, entry)


@given(header=st.binary(max_size=60), size=st.integers(0, 80))
def test_any_bytes_are_strings_or_refused(bundle, header, size):
    entry = tensor("node_ids", "BYTES", [3], size=len(header))
    with suppress(InvalidRequestError):
        assert len(read(with_string_ids(bundle.manifest), entry, binary=header).node_ids) == 3


def test_a_model_lists_what_its_graph_takes(bundle, sparse_bundle, tmp_path):
    listed = {info.name: info.shape for info in listed_inputs(bundle.manifest)}
    assert listed == {"node_ids": (-1,), "features": (-1, 12), "positions": (-1, 4)}
    listed = [info.name for info in listed_inputs(sparse_bundle.manifest)]
    assert listed == ["node_ids", "feature_ids", "feature_values", "positions"]
    linear = without_positions(bundle, tmp_path / "linear")
    assert [info.name for info in listed_inputs(linear.manifest)] == ["node_ids", "features"]
    outputs = {info.name: (info.datatype, info.shape) for info in listed_outputs(bundle.manifest, "cpu")}
    assert outputs["probabilities"] == ("FP32", (-1, 3))
    assert outputs["experts"] == ("INT64", (-1, 2, 2))
