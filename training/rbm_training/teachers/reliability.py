"""How steady a teacher's answers are when its features are not (KRD, Wu et al., ICML 2023, eq. 3).

Dimension letters: N nodes, F features, H hidden, C classes.
"""

import torch
from torch import Tensor

from rbm_training.data.sparse_rows import column_deviation
from rbm_training.teachers.ensemble import Ensemble
from rbm_training.teachers.inputs import GraphInputs

NUM_NOISE_DRAWS = 4
NOISE_CHUNK_ROWS = 4096


def entropy_shift(
    teacher: Ensemble, inputs: GraphInputs, generator: torch.Generator, unit_noise: bool = False
) -> Tensor:
    """|H(noisy) − H(clean)| of each node's answer, mean over draws of noise on the features: (N,).

    Args:
        generator: of the noise; torch's own is left alone.
        unit_noise: one draw of noise of deviation 1 in every column, as the paper's released code has it,
            instead of several of each column's own.
    """
    deviation = column_deviation(inputs.features)
    if unit_noise:
        deviation = torch.ones_like(deviation)
    clean = _entropy(teacher.predict(inputs).logits)
    shifts = []
    for _ in range(1 if unit_noise else NUM_NOISE_DRAWS):
        noise = _draw_noise(teacher.first_weight(), deviation, len(clean), generator)
        shifts.append((_entropy(teacher.predict(inputs, noise).logits) - clean).abs())
    return torch.stack(shifts).mean(dim=0)


@torch.no_grad()
def _draw_noise(weight: Tensor, deviation: Tensor, num_nodes: int, generator: torch.Generator) -> Tensor:
    """ε W of the first layer, (N, H), for weight (H, F) and noise ε of each column's deviation.

    A chunk of rows at a time: noise is dense even where features are not.
    """
    products = []
    for chunk in torch.arange(num_nodes).split(NOISE_CHUNK_ROWS):
        drawn = torch.randn((len(chunk), len(deviation)), generator=generator, device=deviation.device)
        products.append((deviation * drawn) @ weight.T)
    return torch.cat(products)


def _entropy(logits: Tensor) -> Tensor:
    log_probabilities = logits.log_softmax(dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=1)
