import numpy as np
import pytest

from rbm_service.inference.batch import InputGatherer, Job
from rbm_service.inference.preprocessing import RequestRows
from rbm_service.runtime.tensors import cut, stack
from tests.model_inputs import brought, known, model_inputs_of


@pytest.mark.parametrize(
    ("num_rows", "S", "small"), [(32, 0, True), (33, 0, False), (4, 1024, True), (5, 1024, False)]
)
def test_long_rows_do_not_run_where_everyone_else_waits(num_rows, S, small):
    rows = RequestRows([0] * num_rows, {}, S, ["cached"] * num_rows)
    assert Job(rows, False, 0.0, 0.0, None).is_small == small


def test_what_is_cut_out_of_a_batch_is_the_rows_of_one_request():
    parts = [{"x": np.arange(3)}, {"x": np.arange(1)}, {"x": np.arange(2)}]
    stacked = stack(parts)
    again = [cut(stacked, slice(start, end)) for start, end in ((0, 3), (3, 4), (4, 6))]
    assert [part["x"].tolist() for part in again] == [[0, 1, 2], [0], [0, 1]]
    assert [list(part) for part in again] == [["x"]] * 3


def test_tensors_of_different_width_are_padded_to_the_widest():
    parts = [
        {"ids": np.array([[1, 2]]), "x": np.ones((1, 2))},
        {"ids": np.array([[3], [4]]), "x": np.ones((2, 2))},
    ]
    stacked = stack(parts, {"ids": 9})
    assert stacked["ids"].tolist() == [[1, 2], [3, 9], [4, 9]]
    assert stacked["ids"].dtype == np.int64
    assert stacked["x"].shape == (3, 2)


@pytest.mark.parametrize("brings", ["nothing", "features", "positions", "all"])
def test_what_a_request_leaves_out_is_looked_up_together_with_its_batch(any_bundle, brings):
    own = model_inputs_of(any_bundle, [3, 4])
    names = {
        "nothing": (),
        "features": tuple(any_bundle.manifest.features.inputs()),
        "positions": ("positions",),
        "all": tuple(own),
    }[brings]
    mixed = known([3, 4])
    mixed.overrides = {name: own[name] for name in names}
    gather = InputGatherer(any_bundle).inputs_of
    together = gather([known([7]), mixed, brought(model_inputs_of(any_bundle, [5])), known([0, 1])])
    wanted = stack(
        [model_inputs_of(any_bundle, [row]) for row in (7, 3, 4, 5, 0, 1)], gather_padding(any_bundle)
    )
    assert set(together) == set(wanted)
    for name, rows in wanted.items():
        np.testing.assert_array_equal(together[name], rows)
    for name, rows in gather([mixed]).items():
        np.testing.assert_array_equal(rows, own[name])


def gather_padding(bundle):
    F = bundle.manifest.features.num_features
    return {"feature_ids": F, "feature_values": 0} if bundle.manifest.features.form == "sparse" else {}
