from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from rbm_bundle.nodes import mean_of_known_neighbors
from rbm_training.data.sparse_rows import as_array, rows_of
from tests.training.objects import CPU, dense_of, student_for, trainer_for


@pytest.fixture(params=["dense", "sparse"])
def either(request, data):
    """The prepared task, with its features dense or sparse."""
    if request.param == "dense":
        return data
    inputs, student = data.inputs, student_for(data)
    features = rows_of(sp.csr_array(as_array(inputs.features)), CPU)
    scaled = student.scaling(features, torch.from_numpy(data.positions)).with_layout()
    return replace(data, inputs=replace(inputs, features=features, scaled=scaled))


@pytest.mark.parametrize("batch_rows", [None, 40])
def test_a_share_of_the_nodes_is_seen_each_epoch_as_the_service_sees_a_node_without_neighbours(
    either, batch_rows
):
    student, inputs = student_for(either), either.inputs
    nobody = [np.array([], np.int64)] * len(inputs.labels)
    default, _ = mean_of_known_neighbors(either.positions, nobody)
    without = dense_of(student.scaling(inputs.features, torch.from_numpy(default)))
    as_they_are = dense_of(inputs.scaled)
    trainer = trainer_for(either, student, position_dropout=0.3, batch_rows=batch_rows)
    epochs = []
    for _ in range(2):
        everyone = torch.arange(len(inputs.labels))
        seen = torch.cat([dense_of(trainer._seen(rows)) for rows in everyone.split(trainer.batch_rows)])
        dropped = (seen == without).all(dim=1)
        assert seen.equal(torch.where(dropped.unsqueeze(1), without, as_they_are))
        assert float(dropped.float().mean()) == pytest.approx(0.3, abs=0.1)
        epochs.append(dropped)
    assert not epochs[0].equal(epochs[1])
    assert dense_of(inputs.scaled).equal(as_they_are)


@pytest.mark.parametrize("step_after", ["epoch", "batch"])
def test_a_student_learns_from_what_it_sees(data, step_after):
    trainer, given = trainer_for(data, student_for(data), position_dropout=0.5, batch_rows=100), []
    trainer.config = trainer.config.model_copy(update={"step_after": step_after})
    trainer.student.layers[0].register_forward_hook(lambda layer, inputs, output: given.append(inputs[0]))
    trainer.train_epoch()
    positions = torch.cat(given)[:, trainer.student.num_features :]
    assert 0.4 < float((positions == 0).all(dim=1).float().mean()) < 0.6


def test_sparse_features_are_shared_and_ready_to_be_multiplied(either):
    trainer = trainer_for(either, student_for(either), position_dropout=0.3)
    seen, scaled = trainer._seen(torch.arange(len(either.inputs.labels))), either.inputs.scaled
    if not isinstance(scaled, torch.Tensor):
        assert (seen.values, seen.columns, seen.layout) == (scaled.values, scaled.columns, scaled.layout)


@pytest.mark.parametrize(("dropout", "width"), [(0.0, 8), (0.3, 0)])
def test_nothing_is_drawn_where_nothing_is_dropped(data, dropout, width):
    bare = replace(data, positions=data.positions[:, :width])
    places = torch.from_numpy(bare.positions)
    scaled = student_for(data).scaling(data.inputs.features, places)
    bare = replace(bare, inputs=replace(data.inputs, scaled=scaled))
    trainer = trainer_for(bare, student_for(bare), position_dropout=dropout)
    before = torch.get_rng_state()
    assert trainer._seen(torch.arange(len(scaled))) is scaled
    assert torch.get_rng_state().equal(before)
