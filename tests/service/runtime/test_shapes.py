import numpy as np
import pytest

from rbm_service.runtime import shapes
from rbm_service.runtime.shapes import (
    MAX_FLOATS,
    BatchShape,
    blank,
    bucket_shapes,
    ceil_power,
    max_nonzeros,
    max_rows,
    padded_nonzeros,
    padding,
    plain_shapes,
    powers_up_to,
    trimmed,
)
from rbm_service.runtime.tensors import num_rows_of, padded_width
from tests.model_inputs import model_inputs_of

K = 2


@pytest.fixture
def wide_manifest(sparse_bundle):
    """A bag of 10,000 words, up to 300 of them in a row, and a first layer of 256 outputs."""
    manifest = sparse_bundle.manifest
    features = manifest.features.model_copy(update={"num_features": 10_000, "max_nonzeros": 300})
    return with_width(manifest.model_copy(update={"features": features}), 256)


def with_architecture(manifest, **changes):
    architecture = manifest.architecture.model_copy(update=changes)
    return manifest.model_copy(update={"architecture": architecture})


def with_width(manifest, H):
    return with_architecture(manifest, layer_widths=(10_004, H, 3))


@pytest.mark.parametrize("S", [1, 16, 300, 10_000])
def test_as_many_rows_run_at_once_as_gather_within_the_bound(wide_manifest, S):
    rows = max_rows(wide_manifest, S)
    assert rows * K * S * 256 <= MAX_FLOATS < (rows + 1) * K * S * 256


def test_a_plain_first_layer_gathers_for_its_only_expert(wide_manifest):
    plain = with_architecture(wide_manifest, num_experts=(1, 4))
    assert max_rows(plain, 300) == MAX_FLOATS // (300 * 256)
    assert max_nonzeros(with_architecture(plain, layer_widths=(10_004, 2**14, 3))) == MAX_FLOATS // 2**14


@pytest.mark.parametrize(("R", "gathered"), [(256, K * 256), (1024, 1024)])
def test_a_learnt_router_gathers_as_well(wide_manifest, R, gathered):
    learnt = with_architecture(wide_manifest, router_width=R)
    assert max_rows(learnt, 300) == MAX_FLOATS // (300 * gathered)


def test_the_router_of_a_later_layer_gathers_nothing(wide_manifest):
    learnt = with_architecture(wide_manifest, num_experts=(1, 4), router_width=1024)
    assert max_rows(learnt, 300) == MAX_FLOATS // (300 * 256)


def test_one_row_runs_even_beyond_the_bound(wide_manifest):
    assert max_rows(with_width(wide_manifest, MAX_FLOATS), 300) == 1


def test_dense_rows_are_bounded_by_their_own_size(bundle):
    assert max_rows(bundle.manifest, 0) == MAX_FLOATS // 12


def test_a_row_may_have_every_feature_where_that_is_within_the_bound(wide_manifest):
    assert max_nonzeros(wide_manifest) == 10_000


def test_a_row_that_alone_exceeds_the_bound_is_too_long(wide_manifest):
    wide = with_width(wide_manifest, 2**16)
    longest = max_nonzeros(wide)
    assert longest * K * 2**16 <= MAX_FLOATS < (longest + 1) * K * 2**16


def test_dense_shapes_are_powers_of_two_largest_first(bundle):
    wanted = [BatchShape(rows, 0) for rows in (4, 2, 1)]
    assert list(plain_shapes(bundle.manifest, 7)) == wanted
    assert list(bucket_shapes(bundle.manifest, 7)) == wanted


def test_sparse_shapes_are_those_of_the_longest_known_row_and_the_shortest(sparse_bundle):
    found = list(plain_shapes(sparse_bundle.manifest, 2))
    assert found == [BatchShape(2, 40), BatchShape(1, 40), BatchShape(2, 1), BatchShape(1, 1)]


def test_sparse_buckets_are_powers_of_two_in_both_directions(sparse_bundle):
    found = list(bucket_shapes(sparse_bundle.manifest, 2))
    assert found == [BatchShape(rows, width) for width in (64, 32, 16) for rows in (2, 1)]


def test_no_shape_exceeds_the_bound(wide_manifest):
    for shape in (*plain_shapes(wide_manifest, 1024), *bucket_shapes(wide_manifest, 1024)):
        assert shape.num_rows * shape.num_nonzeros * K * 256 <= MAX_FLOATS
    assert max(shape.num_rows for shape in bucket_shapes(wide_manifest, 1024)) == 1024
    assert max(s.num_rows for s in bucket_shapes(wide_manifest, 1024) if s.num_nonzeros == 512) == 256


@pytest.mark.parametrize(("S", "width"), [(1, 16), (16, 16), (17, 32), (40, 64), (129, 200), (200, 200)])
def test_a_row_is_padded_to_a_power_of_two_and_to_no_more_than_all_features(sparse_bundle, S, width):
    assert padded_nonzeros(sparse_bundle.manifest, S) == width


@pytest.mark.parametrize(("number", "floor", "ceiling"), [(1, 1, 1), (2, 2, 2), (3, 2, 4), (1023, 512, 1024)])
def test_powers_of_two(number, floor, ceiling):
    assert (powers_up_to(number)[0], ceil_power(number)) == (floor, ceiling)


def test_padding_names_the_column_that_is_none(sparse_bundle):
    manifest = sparse_bundle.manifest
    ids, values, positions = (
        blank(manifest, spec, BatchShape(2, 3)) for spec in manifest.graphs["cpu"].inputs
    )
    np.testing.assert_array_equal(ids, np.full((2, 3), 200))
    assert (values.shape, positions.shape, values.any() or positions.any()) == ((2, 3), (2, 4), False)


def test_only_the_inputs_of_sparse_graphs_are_widened(bundle, sparse_bundle):
    assert padding(bundle.manifest.features) == {}
    assert padding(sparse_bundle.manifest.features) == {"feature_ids": 200, "feature_values": 0}


@pytest.mark.parametrize(("stored", "width"), [([[7, 200, 200], [3, 5, 200]], 2), ([[200] * 3], 1)])
def test_rows_are_trimmed_to_the_longest_of_them(sparse_bundle, stored, width):
    ids = np.array(stored)
    model_inputs = {"feature_ids": ids, "feature_values": 1.0 * ids, "positions": np.zeros((len(ids), 4))}
    found = trimmed(model_inputs, sparse_bundle.manifest)
    assert found["feature_ids"].tolist() == ids[:, :width].tolist()
    assert found["feature_values"].tolist() == (1.0 * ids[:, :width]).tolist()
    assert found["positions"].shape == (len(ids), 4)


def test_a_batch_has_the_shape_of_its_arrays(bundle, sparse_bundle):
    model_inputs = model_inputs_of(bundle, [0, 1, 2])
    assert (num_rows_of(model_inputs), padded_width(model_inputs)) == (3, 0)
    model_inputs = model_inputs_of(sparse_bundle, [1])
    assert (num_rows_of(model_inputs), padded_width(model_inputs)) == (1, 40)


def test_the_bound_is_what_both_sides_of_a_request_read(wide_manifest, monkeypatch):
    monkeypatch.setattr(shapes, "MAX_FLOATS", K * 256 * 100)
    assert (max_nonzeros(wide_manifest), max_rows(wide_manifest, 50)) == (100, 2)
