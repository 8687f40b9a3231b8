"""Graph attention through segments: one number for each edge and head, never a row of them.

Dimension letters: N nodes, M directed edges, H width of all heads together, K heads, D = H / K width of one.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rbm_training.data.sparse_rows import dropout
from rbm_training.teachers.inputs import Edges

NEGATIVE_SLOPE = 0.2


class GraphAttention(nn.Module):
    """Mean over a node and its neighbours, weighted by attention (Veličković et al., ICLR 2018, eqs. 1-5).

    The heads stand side by side and are computed one after another, each over columns of its own. Rows are
    mapped before they come here. Parameters have the names and shapes that they have in PyTorch Geometric's
    `GATConv`, and a seed draws the same numbers for them: att_src and att_dst, (1, K, D).

    Args:
        width: H.
        dropout: share of the edges that a head does not hear in an epoch.
    """

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        # GATConv begins with a linear map of its own, which it draws twice: what follows in the stream stays.
        torch.rand(2 * width * width)
        shape = (1, num_heads, width // num_heads)
        bound = math.sqrt(6 / (shape[1] + shape[2]))  # Glorot & Bengio 2010
        self.att_src = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.att_dst = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

    def forward(self, mapped: Tensor, edges: Edges) -> Tensor:
        """All heads' means: (N, H) to (N, H)."""
        source_weights, target_weights = self.att_src[0], self.att_dst[0]  # (K, D)
        columns = mapped.chunk(len(source_weights), dim=1)
        heads = zip(columns, source_weights, target_weights, strict=True)
        return torch.cat([self._attend(edges, *head) for head in heads], dim=1)

    def _attend(self, edges: Edges, mapped: Tensor, source_weight: Tensor, target_weight: Tensor) -> Tensor:
        """One head's means, (N, D), with attention softmax(LeakyReLU(a·h_u + a'·h_v)) for an edge u → v."""
        from_source = (mapped @ source_weight).index_select(0, edges.sources)  # (M + N,)
        at_target = (mapped @ target_weight).index_select(0, edges.targets)
        attention = edges.softmax(F.leaky_relu(from_source + at_target, NEGATIVE_SLOPE))
        return edges.sums(mapped.contiguous(), dropout(attention, self.dropout, self.training))
