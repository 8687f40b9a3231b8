"""Bundles of format 2, beside those of format 1."""

import json
from dataclasses import replace

import onnx
import pytest

from rbm_bundle import BundleError, ModelRepository, read_bundle, write_bundle
from rbm_bundle.bundle import read_manifest
from rbm_bundle.manifest import parse_manifest, seal
from tests.bundles import RECORDS, TINY, draft_of


@pytest.fixture
def draft():
    return draft_of(read_bundle(RECORDS))


def with_records(draft, **changes):
    spec = draft.manifest.records.model_copy(update=changes)
    return replace(draft, manifest=draft.manifest.model_copy(update={"records": spec}))


def test_a_bundle_with_records_is_of_format_2_and_any_other_of_format_1():
    assert read_manifest(RECORDS).format_version == 2
    assert read_manifest(TINY).format_version == 1
    assert b"records" not in seal(read_manifest(TINY))


def test_a_bundle_with_records_written_again_is_the_same(draft, tmp_path):
    copy = write_bundle(tmp_path / "copy", draft)
    assert copy.manifest == draft.manifest
    assert len(copy.golden_records().rows) == 25


def test_a_bundle_without_records_has_no_golden_ones():
    assert read_bundle(TINY).golden_records() is None


@pytest.mark.parametrize(
    ("folder", "version", "reason"),
    [(TINY, 2, "no records or map in format 2"), (RECORDS, 1, "records in format 1")],
)
def test_records_are_of_format_2_alone(folder, version, reason):
    document = json.loads((folder / "manifest.json").read_bytes()) | {"format_version": version}
    with pytest.raises(BundleError, match=reason):
        parse_manifest(json.dumps(document).encode())


def test_records_of_other_features_than_the_graph_takes_are_refused():
    document = json.loads((RECORDS / "manifest.json").read_bytes())
    document["records"]["columns"].pop()
    with pytest.raises(BundleError, match="records of 26 features, elsewhere 32"):
        parse_manifest(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("column", "reason"),
    [({"name": "year"}, "a field of records named twice"), ({"fill": []}, "0 numbers in fill of 'when'")],
)
def test_columns_that_contradict_themselves_are_refused(column, reason):
    document = json.loads((RECORDS / "manifest.json").read_bytes())
    document["records"]["columns"][-1].update(column)
    with pytest.raises(BundleError, match=reason):
        parse_manifest(json.dumps(document).encode())


def test_a_graph_of_records_with_another_foreign_operator_is_refused(draft, tmp_path):
    model = onnx.load_model_from_string(draft.graphs["records.onnx"])
    model.graph.node[0].domain, model.graph.node[0].op_type = "com.microsoft", "Attention"
    graphs = {**draft.graphs, "records.onnx": model.SerializeToString()}
    with pytest.raises(BundleError, match=r"records\.onnx: expected Tokenizer alone, got .*Attention"):
        write_bundle(tmp_path / "copy", replace(draft, graphs=graphs))


def test_the_student_may_not_hold_what_the_graph_of_records_may(draft, tmp_path):
    name = draft.manifest.graphs["cpu"].file
    graphs = {**draft.graphs, name: draft.graphs["records.onnx"]}
    with pytest.raises(BundleError, match=rf"{name}: .*operators of the domain"):
        write_bundle(tmp_path / "copy", replace(draft, graphs=graphs))


def test_golden_records_that_are_not_as_many_are_refused(draft, tmp_path):
    with pytest.raises(BundleError, match=r"golden\.records\.json: expected 7, got 25 records"):
        write_bundle(tmp_path / "copy", with_records(draft, num_golden=7))


@pytest.mark.parametrize("field", ["file", "golden_file"])
def test_a_file_that_is_not_there_is_refused(draft, tmp_path, field):
    with pytest.raises(BundleError, match=r"nowhere\.onnx"):
        write_bundle(tmp_path / "copy", with_records(draft, **{field: "../nowhere.onnx"}))


def test_a_model_goes_from_format_1_to_2_and_back(draft, tmp_path):
    tiny = replace(draft, manifest=draft.manifest.model_copy(update={"name": "tiny"}))
    repository = ModelRepository(tmp_path / "models")
    for folder in (TINY, write_bundle(tmp_path / "with records", tiny).path):
        repository.promote("tiny", repository.publish(folder))
    assert repository.promoted("tiny") == 2
    repository.rollback("tiny")
    assert repository.promoted("tiny") == 1
