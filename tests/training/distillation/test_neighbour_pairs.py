import pytest
import torch

from rbm_training.distillation.neighbour_pairs import (
    MAX_EXPONENT,
    MIN_EXPONENT,
    ReliablePairSampler,
    pair_sampler,
    pairs_are_promising,
)

EDGES = torch.tensor([[0, 1, 1, 2, 2, 3, 3, 0], [1, 0, 2, 1, 3, 2, 0, 3]])


def test_a_steady_node_is_always_kept_and_the_least_steady_never():
    sampler = ReliablePairSampler(EDGES, torch.tensor([0.0, 0.5, 1.0, 2.0]))
    assert sampler.probabilities().tolist() == [1.0, 0.75, 0.5, 0.0]
    for _ in range(20):
        teachers = sampler.draw()[1].tolist()
        assert teachers.count(0) == 2
        assert 3 not in teachers


def test_the_expected_number_of_pairs_is_the_sum_of_probabilities():
    torch.manual_seed(0)
    sampler = ReliablePairSampler(EDGES, torch.tensor([0.0, 0.5, 1.0, 2.0]))
    expected = float(sampler.probabilities()[EDGES[1]].sum())
    drawn = sum(sampler.draw().shape[1] for _ in range(4000)) / 4000
    assert abs(drawn - expected) < 0.1


def test_a_teacher_that_noise_never_moves_keeps_every_pair():
    sampler = ReliablePairSampler(EDGES, torch.zeros(4))
    assert sampler.draw().shape == EDGES.shape


def test_refitting_recovers_the_exponent_that_made_the_agreement():
    torch.manual_seed(0)
    shift = torch.rand(20_000)
    agree = torch.bernoulli(1 - shift**3).bool()
    sampler = ReliablePairSampler(EDGES, shift, momentum=0.0)
    sampler.refit(agree)
    assert 2.5 < sampler.exponent < 3.5


def test_refitting_moves_slowly_and_stays_within_bounds():
    shift = torch.linspace(0, 1, 1000)
    sampler = ReliablePairSampler(EDGES, shift, momentum=0.9)
    for _ in range(500):
        sampler.refit(shift > 0.5)  # the reverse of what reliability says
        assert MIN_EXPONENT <= sampler.exponent <= MAX_EXPONENT
        assert ((sampler.probabilities() >= 0) & (sampler.probabilities() <= 1)).all()


def test_agreement_everywhere_leaves_the_exponent_alone():
    sampler = ReliablePairSampler(EDGES, torch.rand(100))
    sampler.refit(torch.ones(100, dtype=torch.bool))
    assert sampler.exponent == 1.0


@pytest.mark.parametrize(
    ("pairs", "steady", "promising", "sampled"),
    [
        ("auto", True, True, True),
        ("auto", True, False, False),
        ("auto", False, True, False),
        ("reliable", True, False, True),
        ("self", True, True, False),
    ],
)
def test_pairs_are_drawn_where_they_promise_something_or_are_asked_for(pairs, steady, promising, sampled):
    sampler = pair_sampler(pairs, EDGES, torch.rand(100) if steady else None, promising)
    assert (sampler is not None) == sampled


@pytest.mark.parametrize(
    ("setting", "degree", "alike", "promising"),
    [
        ("transductive", 10, 0.5, True),
        ("transductive", 11, 0.5, False),
        ("transductive", 0, 0.5, False),
        ("inductive", 10, 0.5, False),
        ("transductive", 10, 0.4, False),
        ("transductive", 10, None, True),
    ],
)
def test_pairs_promise_something_on_sparse_graphs_of_like_neighbors(setting, degree, alike, promising):
    """Of ten nodes half are labelled, and of the edges among those a share joins nodes of one class."""
    labels = torch.tensor([0] * 5 + [1] * 5)
    labelled = torch.tensor([True, False] * 5) if alike is not None else torch.zeros(10, dtype=torch.bool)
    same, other, unlabelled = [0, 2], [0, 6], [1, 9]
    num_same = round(10 * (alike or 0))
    edges = [same] * num_same + [other] * (10 - num_same) + [unlabelled] * (10 * degree - 10)
    edge_index = torch.tensor(edges[: 10 * degree], dtype=torch.long).reshape(-1, 2).T
    assert pairs_are_promising(setting, edge_index, labels, labelled) == promising
