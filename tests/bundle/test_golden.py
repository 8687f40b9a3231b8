from dataclasses import replace

import numpy as np
import pytest

from rbm_bundle.bundle import read_bundle, read_manifest
from rbm_bundle.errors import BundleError
from rbm_bundle.golden import check_parity, measure_parity, read_golden
from tests.bundles import SPARSE


@pytest.fixture
def golden(tiny_bundle):
    return read_bundle(tiny_bundle).golden()


@pytest.fixture
def spec(tiny_bundle):
    return read_bundle(tiny_bundle).manifest.golden


def outputs_of(golden):
    return {name: getattr(golden, name).copy() for name in ("logits", "probabilities", "experts")}


def refusal(golden, spec, outputs):
    with pytest.raises(BundleError) as raised:
        check_parity(measure_parity(golden, outputs, spec.routing_margin), spec, "session")
    return str(raised.value)


def test_the_recorded_outputs_pass(golden, spec):
    check_parity(measure_parity(golden, outputs_of(golden), spec.routing_margin), spec, "session")


def test_logits_beyond_the_tolerance_are_refused(golden, spec):
    outputs = outputs_of(golden)
    outputs["logits"][3] *= 1 + 10 * spec.rtol
    assert "relative logits error" in refusal(golden, spec, outputs)


def test_probabilities_beyond_the_tolerance_are_refused(golden, spec):
    outputs = outputs_of(golden)
    outputs["probabilities"][0, 0] += 10 * spec.atol
    assert "probability error" in refusal(golden, spec, outputs)


@pytest.mark.parametrize("name", ["logits", "probabilities"])
def test_an_output_that_is_no_number_is_refused(golden, spec, name):
    outputs = outputs_of(golden)
    outputs[name][1, 1] = np.nan
    assert "inf" in refusal(golden, spec, outputs)


def test_another_routing_is_refused_before_its_logits_are_compared(golden, spec):
    outputs = outputs_of(golden)
    outputs["experts"][2] = (outputs["experts"][2] + 1) % 4
    assert "routed to other experts" in refusal(golden, spec, outputs)


def test_the_order_of_the_chosen_experts_does_not_matter(golden, spec):
    outputs = outputs_of(golden)
    outputs["experts"] = outputs["experts"][:, :, ::-1]
    check_parity(measure_parity(golden, outputs, spec.routing_margin), spec, "session")


def test_a_row_near_a_tie_is_exempt_and_counted(golden, spec):
    gaps = golden.routing_gap.copy()
    gaps[:] = 1.0
    gaps[0] = 0.0
    near_tie = replace(golden, routing_gap=gaps)
    outputs = outputs_of(golden)
    outputs["experts"][0] = (outputs["experts"][0] + 1) % 4
    parity = measure_parity(near_tie, outputs, spec.routing_margin)
    assert (parity.num_exempt, parity.num_routed_otherwise) == (1, 0)


def test_too_many_exempt_rows_are_refused(golden, spec):
    all_tied = replace(golden, routing_gap=np.zeros_like(golden.routing_gap))
    assert "too near a routing tie" in refusal(all_tied, spec, outputs_of(golden))


def test_an_archive_of_something_else_is_refused(tmp_path, tiny_bundle):
    path = tmp_path / "golden.npz"
    np.savez(path, features=np.zeros(3))
    with pytest.raises(BundleError, match="got arrays features"):
        read_golden(path, read_manifest(tiny_bundle))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"feature_ids": lambda ids: ids - 1}, "feature_ids outside"),
        ({"feature_ids": lambda ids: ids + 1}, "feature_ids outside"),
        ({"feature_ids": lambda ids: ids[:, 1:]}, "as feature_ids"),
        ({name: lambda rows: np.tile(rows, 6) for name in ("feature_ids", "feature_values")}, "up to 200"),
    ],
)
def test_sparse_rows_that_no_graph_can_take_are_refused(tmp_path, change, reason):
    arrays = dict(np.load(SPARSE / "golden.npz"))
    arrays["feature_ids"][0, 0] = 0
    np.savez(tmp_path / "golden.npz", **arrays | {name: edit(arrays[name]) for name, edit in change.items()})
    with pytest.raises(BundleError, match=reason):
        read_golden(tmp_path / "golden.npz", read_manifest(SPARSE))


def test_a_gap_may_be_infinite(tmp_path):
    arrays = dict(np.load(SPARSE / "golden.npz"))
    arrays["routing_gap"][0] = np.inf
    np.savez(tmp_path / "golden.npz", **arrays)
    assert len(read_golden(tmp_path / "golden.npz", read_manifest(SPARSE))) == 25
