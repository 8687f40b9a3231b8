import numpy as np
import pytest

from rbm_bundle.errors import BundleError
from rbm_bundle.golden_records import check_features, golden_records, read_golden_records
from rbm_bundle.record_spec import RecordColumn, RecordsSpec

COLUMNS = (
    RecordColumn(name="size", kind="number", num_features=1, fill=(0.0,)),
    RecordColumn(name="tags", kind="tags", num_features=3),
)
SPEC = RecordsSpec(file="r.onnx", golden_file="g.json", num_golden=2, atol=1e-5, columns=COLUMNS)
FEATURES = np.array([[0.5, 0, 1, 0], [-2000.0, 0, 0, 0]], np.float32)
GOLDEN = golden_records([{"size": 1.5, "tags": ["x"]}, {}], FEATURES)


def write(folder, content=None):
    path = folder / "g.json"
    path.write_bytes(GOLDEN.to_bytes() if content is None else content)
    return path


def test_golden_records_read_back_as_they_were(tmp_path):
    found = read_golden_records(write(tmp_path), SPEC)
    assert found == GOLDEN
    np.testing.assert_array_equal(found.features(4), FEATURES)
    assert found.inputs(SPEC)["numbers"].tolist() == [[1.5], [0.0]]


def test_features_within_the_tolerance_pass_and_large_ones_by_their_share():
    check_features(FEATURES + np.array([[9e-6] * 4, [1e-2, 0, 0, 0]]), GOLDEN, SPEC, "r.onnx")


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        (FEATURES + 2e-5, "error of 2.00e-05"),
        (FEATURES[:, :3], "shape"),
        (FEATURES * np.nan, "error of inf"),
    ],
)
def test_other_features_are_refused(features, reason):
    with pytest.raises(BundleError, match=reason):
        check_features(features, GOLDEN, SPEC, "r.onnx")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[", "no readable records"),
        (b'{"rows": []}', "expected 2, got 0 records"),
        (GOLDEN.to_bytes().replace(b"size", b"size2"), "unknown field"),
        (GOLDEN.to_bytes().replace(b"2000.0", b"2000.0,1"), "do not fit each other"),
        (GOLDEN.to_bytes().replace(b"2,", b"4,").replace(b"   2\n", b"   4\n"), "do not fit each other"),
        (GOLDEN.to_bytes().replace(b"0.5", b'"0.5"'), "no readable records"),
    ],
    ids=["no JSON", "none", "another field", "a value more", "a column too far", "a string"],
)
def test_other_files_are_refused(tmp_path, content, reason):
    assert content != GOLDEN.to_bytes()
    with pytest.raises(BundleError, match=reason):
        read_golden_records(write(tmp_path, content), SPEC)


def test_a_bundle_without_the_file_says_so(tmp_path):
    with pytest.raises(BundleError, match=r"g\.json"):
        read_golden_records(tmp_path / "g.json", SPEC)
