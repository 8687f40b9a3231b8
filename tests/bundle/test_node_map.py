"""Bundles with a map, beside those without."""

import json
from dataclasses import replace

import numpy as np
import pytest

from rbm_bundle import BundleError, ModelRepository, read_bundle, write_bundle
from rbm_bundle.bundle import read_manifest
from rbm_bundle.manifest import parse_manifest, seal
from rbm_bundle.manifest_parts import MAX_MAP_NODES
from tests.bundles import RECORDS, TINY, draft_of, with_map


@pytest.fixture
def mapped(tmp_path):
    return with_map(read_bundle(TINY), tmp_path / "mapped")


def rewritten(bundle, folder, spec=(), **arrays):
    """The bundle with other arrays on its map, or another promise of them."""
    draft = draft_of(bundle)
    manifest = draft.manifest.model_copy(update={"map": draft.manifest.map.model_copy(update=dict(spec))})
    node_map = replace(draft.node_map, **{name: np.array(array) for name, array in arrays.items()})
    return write_bundle(folder, replace(draft, manifest=manifest, node_map=node_map))


def test_a_map_is_read_back_as_it_was(mapped):
    found = read_bundle(mapped.path).node_map
    assert found.rows.tolist() == [0, 3]
    assert found.points.tolist() == [[0.0, 0.5], [1.0, 1.5]]
    assert (found.classes.tolist(), found.experts.tolist()) == ([1, 0], [1, 0])
    assert found.memory.tolist() == [[0.0, 0.5], [1.0, 1.5], [2.0, 2.5], [3.0, 3.5]]
    assert "map.npz" in mapped.manifest.files


def test_the_same_map_is_the_same_bundle(mapped, tmp_path):
    copy = write_bundle(tmp_path / "copy", draft_of(mapped))
    assert copy.manifest == mapped.manifest


def test_a_bundle_with_a_map_is_of_format_2_and_one_without_optional_parts_of_format_1(mapped):
    assert (mapped.manifest.format_version, mapped.manifest.records) == (2, None)
    assert (read_manifest(TINY).format_version, read_bundle(TINY).node_map) == (1, None)
    assert b'"map"' not in seal(read_manifest(TINY))


def test_a_bundle_may_have_records_and_a_map(tmp_path):
    both = with_map(read_bundle(RECORDS), tmp_path / "both")
    assert both.golden_records() is not None
    assert len(both.node_map.rows) == 2


def test_a_layer_that_compares_nothing_has_no_experts_on_its_map(mapped, tmp_path):
    draft = draft_of(mapped)
    spec = draft.manifest.map.model_copy(update={"has_experts": False})
    manifest = draft.manifest.model_copy(update={"map": spec})
    plain = replace(draft.node_map, experts=None, memory=None)
    found = write_bundle(tmp_path / "plain", replace(draft, manifest=manifest, node_map=plain)).node_map
    assert (found.experts, found.memory) == (None, None)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"rows": np.int32([0, 20])}, r"expected 0\.\.19, got rows from 0 to 20"),
        ({"rows": np.int32([-1, 3])}, "got rows from -1 to 3"),
        ({"rows": np.int32([3, 3])}, "expected strictly rising rows"),
        ({"rows": np.int64([0, 3])}, "expected rows as int32 of shape"),
        ({"rows": np.int32([0])}, r"got rows as int32 of shape \(1,\)"),
        ({"points": np.float32([[0, np.nan], [0, 0]])}, "points that are not finite"),
        ({"points": np.zeros((2, 3), np.float32)}, r"got points as float32 of shape \(2, 3\)"),
        ({"classes": np.int32([0, 3])}, r"expected 0\.\.2, got classes from 0 to 3"),
        ({"experts": np.int32([4, 0])}, r"expected 0\.\.3, got experts from 0 to 4"),
        ({"memory": np.zeros((3, 2), np.float32)}, r"got memory as float32 of shape \(3, 2\)"),
        ({"memory": np.full((4, 2), np.inf, np.float32)}, "memory that are not finite"),
    ],
)
def test_a_map_of_what_is_not_there_is_refused(mapped, tmp_path, arrays, reason):
    with pytest.raises(BundleError, match=rf"map\.npz: .*{reason}"):
        rewritten(mapped, tmp_path / "other", **arrays)


def test_experts_that_the_manifest_does_not_promise_are_refused(mapped, tmp_path):
    with pytest.raises(BundleError, match=r"map\.npz: expected arrays classes, points, rows, got .* experts"):
        rewritten(mapped, tmp_path / "other", spec={"has_experts": False})


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"num_nodes": 21}, "map of 21 nodes, elsewhere 20"),
        ({"num_nodes": MAX_MAP_NODES + 1}, "map: num_nodes: Input should be less than or equal to 2000"),
        ({"layer": 2}, "map of layer 2, elsewhere layers 0 to 1"),
    ],
)
def test_a_manifest_that_contradicts_its_map_is_refused(mapped, spec, reason):
    document = json.loads((mapped.path / "manifest.json").read_bytes())
    document["map"].update(spec)
    with pytest.raises(BundleError, match=reason):
        parse_manifest(json.dumps(document).encode())


def test_a_map_in_format_1_is_refused(mapped):
    document = json.loads((mapped.path / "manifest.json").read_bytes()) | {"format_version": 1}
    with pytest.raises(BundleError, match="map in format 1; format 2 has them"):
        parse_manifest(json.dumps(document).encode())


def test_a_map_elsewhere_is_refused(mapped, tmp_path):
    with pytest.raises(BundleError, match=r"\.\./map\.npz"):
        rewritten(mapped, tmp_path / "other", spec={"file": "../map.npz"})


def test_a_model_goes_from_a_bundle_without_a_map_to_one_with_it_and_back(mapped, tmp_path):
    repository = ModelRepository(tmp_path / "models")
    for folder in (TINY, mapped.path):
        repository.promote("tiny", repository.publish(folder))
    assert repository.rollback("tiny") == 1
