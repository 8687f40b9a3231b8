"""On a graph where routing has to pay it does, and a routing that knows nothing does not."""

import numpy as np
import pytest

from rbm_training.benchmark.jobs import run_student
from rbm_training.benchmark.plan import EXPERIMENTS, load_comparison, plan
from rbm_training.data.builtin.permuted import generate_permuted_graph
from rbm_training.data.public.catalogue import GENERATED
from tests.training.objects import write_npz

SMALLER = (
    "seeds=[0]",
    'methods=["mlp-flops-shared", "rbm-shared", "rbm-hash", "rbm-oracle"]',
    "experiment.teacher.hidden=64",
    "experiment.teacher.max_epochs=60",
    "experiment.distill.max_epochs=200",
)


@pytest.fixture(scope="module")
def accuracies(tmp_path_factory):
    """Test accuracy of each student of the positive control, on a smaller graph of its kind."""
    root = tmp_path_factory.mktemp("control")
    graph = generate_permuted_graph(0, num_nodes=2400, num_features=96)
    write_npz(root / f"{GENERATED}.npz", edge_index=graph.edge_index, x=graph.features, y=graph.labels)
    file = EXPERIMENTS / "comparisons" / "positive-control.toml"
    runs = plan(load_comparison(file, [*SMALLER, f"data_root={root}"]))
    return {run.identity.method: run_student(run, root / "cache", None).test_accuracy for run in runs}


@pytest.mark.slow
def test_experts_of_communities_beat_the_mlp_of_their_cost_by_far(accuracies):
    assert accuracies["rbm-shared"] > accuracies["mlp-flops-shared"] + 0.1


@pytest.mark.slow
def test_a_routing_that_was_found_lies_between_one_that_knows_nothing_and_one_that_knows_all(accuracies):
    assert accuracies["rbm-hash"] + 0.1 < accuracies["rbm-shared"] <= accuracies["rbm-oracle"]


def test_a_community_has_a_meaning_of_its_own_for_what_a_node_shows():
    graph = generate_permuted_graph(0, num_nodes=64, num_communities=2, noise=0.0)
    shown, first = np.unique(graph.features.round(4), axis=0, return_inverse=True)
    assert len(shown) == 2 * 8  # without noise a node shows its community and its class alone
    assert all(len(set(graph.labels[first == one])) == 1 for one in range(len(shown)))
