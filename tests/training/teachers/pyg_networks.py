"""The networks as PyTorch Geometric's own layers make them: the reference for ours."""

import torch
from torch import Tensor, nn
from torch_geometric import nn as pyg
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from rbm_training.teachers.attention import GraphAttention
from rbm_training.teachers.networks import APPNP, GAT, GCN, GraphNetwork


def gat_conv(width: int, heads: int) -> pyg.GATConv:
    """Attention over rows that are mapped already, and edges that have their loops."""
    convolution = pyg.GATConv(width, width // heads, heads, add_self_loops=False, bias=False)
    convolution.lin = nn.Identity()
    return convolution


def logits_by_pyg(network: GraphNetwork, features: Tensor, edge_index: Tensor) -> Tensor:
    """Logits of a network of ours without dropout, all aggregation left to PyTorch Geometric."""
    index, weight = gcn_norm(edge_index, num_nodes=len(features))
    hidden = features
    for layer, linear in enumerate(network.linears):
        mapped = (hidden.relu() if layer else hidden) @ linear.weight.T
        hidden = _aggregate(network, layer, mapped, index, weight) + linear.bias
    if isinstance(network, APPNP):
        return pyg.APPNP(network.power_iterations, network.teleport, normalize=False)(hidden, index, weight)
    return hidden


def _aggregate(network: GraphNetwork, layer: int, mapped: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    if isinstance(network, APPNP):
        return mapped
    if isinstance(network, GAT):
        return _with_parameters_of(network.attentions[layer])(mapped, index)
    if isinstance(network, GCN):
        return pyg.SimpleConv(aggr="sum")(mapped, index, weight)
    return pyg.SimpleConv(aggr="mean")(mapped, index)


def _with_parameters_of(attention: GraphAttention) -> pyg.GATConv:
    _, heads, head_width = attention.att_src.shape
    with torch.random.fork_rng(devices=[]):
        convolution = gat_conv(heads * head_width, heads)
    convolution.att_src, convolution.att_dst = attention.att_src, attention.att_dst
    return convolution
