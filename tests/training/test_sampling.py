import pytest
import torch

from rbm_training.sampling import MAX_EXPONENT, MIN_EXPONENT, ReliablePairSampler, pair_sampler

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
    ("pairs", "degree", "steady", "setting", "sampled"),
    [
        ("auto", 10, True, "transductive", True),
        ("auto", 11, True, "transductive", False),
        ("auto", 0, True, "transductive", False),
        ("auto", 10, False, "transductive", False),
        ("auto", 10, True, "inductive", False),
        ("reliable", 11, True, "transductive", True),
        ("reliable", 10, True, "inductive", True),
        ("self", 10, True, "transductive", False),
    ],
)
def test_pairs_are_drawn_where_they_were_measured_to_help_or_are_asked_for(
    pairs, degree, steady, setting, sampled
):
    edges = torch.zeros(2, 4 * degree, dtype=torch.long)
    sampler = pair_sampler(pairs, edges, torch.rand(4) if steady else None, setting)
    assert (sampler is not None) == sampled
