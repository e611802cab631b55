"""EGNN evaluated the way that research code of 2019 does it: every ordered pair, 1x1 convolutions, NCHW.

Node features are `[B, F, n]`, edges `[B, 2, n, n]`, and the edge network runs on `|v_i - v_j|` as a `[B, F, n, n]`
image of all n² ordered pairs. Inductive episodes repeat the support once per query. The formula is the library's; batch
statistics in training are over all ordered pairs, self-loops included.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import graphfew as gf

SMOOTH = 1e-6


class NaiveLayer(nn.Module):
    """One layer: nodes `[B, F, n]` and edges `[B, 2, n, n]` to the same, from 1x1 convolutions."""

    def __init__(self, node_net: nn.Module, edge_net: nn.Module) -> None:
        super().__init__()
        self.node_net = convolutional(node_net)
        self.edge_net = convolutional(edge_net)

    def forward(self, nodes: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Updated nodes, then updated edges."""
        n = nodes.shape[2]
        eye = torch.eye(n, dtype=nodes.dtype)
        edges = edges * (1 - eye)
        weights = F.normalize(edges, p=1, dim=-1)
        mixed = [torch.bmm(weights[:, d], nodes.transpose(1, 2)).transpose(1, 2) for d in range(2)]
        nodes = self.node_net(torch.cat([nodes, *mixed], dim=1).unsqueeze(-1)).squeeze(-1)
        apart = (nodes.unsqueeze(3) - nodes.unsqueeze(2)).abs()
        same = torch.sigmoid(self.edge_net(apart))
        mass = edges.sum(-1, keepdim=True)
        updated = F.normalize(torch.cat([same, 1 - same], dim=1) * edges, p=1, dim=-1) * mass
        updated = updated + torch.stack([eye, torch.zeros_like(eye)]) + SMOOTH
        return nodes, updated / updated.sum(1, keepdim=True)


class NaiveEgnn(nn.Module):
    """The layers in order; `forward` gives the edges `[B, 2, n, n]` after each."""

    def __init__(self, layers: list[NaiveLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, nodes: Tensor, edges: Tensor) -> list[Tensor]:
        """`nodes [B, F, n]` and the first `edges [B, 2, n, n]` to every layer's edges."""
        out = []
        for layer in self.layers:
            nodes, edges = layer(nodes, edges)
            out.append(edges)
        return out


def from_model(model: gf.GraphMethod) -> NaiveEgnn:
    """The naive form of an EGNN of the library, with a copy of its weights and statistics, in its mode."""
    layers = [NaiveLayer(layer.node_net, layer.edge_net) for layer in model.layers.children()]
    return NaiveEgnn(layers).train(model.training)


def convolutional(net: nn.Module) -> nn.Sequential:
    """Linear maps as 1x1 convolutions and batch norm over rows as over pixels, with the activation that follows."""
    out: list[nn.Module] = []
    for module in net.children():
        if isinstance(module, nn.Linear):
            convolution = nn.Conv2d(module.in_features, module.out_features, 1, bias=module.bias is not None)
            convolution.to(module.weight.dtype)
            convolution.load_state_dict({name: value[..., None, None] if name == "weight" else value
                                         for name, value in module.state_dict().items()})
            out.append(convolution)
        elif isinstance(module, nn.Dropout):
            out.append(nn.Dropout2d(module.p))
        else:
            norm = nn.BatchNorm2d(module.norm.num_features).to(module.norm.weight.dtype)
            norm.load_state_dict(module.norm.state_dict())
            out += [norm, nn.LeakyReLU(module.slope)]
    return nn.Sequential(*out)


def tensors(episode: gf.Episode) -> tuple[Tensor, Tensor]:
    """Nodes `[B, F, n]` and first edges `[B, 2, n, n]` of equal-sized tasks. Raises ValueError for other tasks."""
    if len(set(episode.sizes)) > 1:
        raise ValueError(f"tasks of {sorted(set(episode.sizes))} nodes; this form needs equal sizes")
    n = episode.sizes[0]
    label = episode.y.view(-1, n)
    known = (label[:, :, None] >= 0) & (label[:, None] >= 0)
    similar = torch.where(known, (label[:, :, None] == label[:, None]).to(episode.x.dtype), 0.5)
    similar = similar.to(episode.x.dtype).masked_fill(torch.eye(n, dtype=torch.bool), 1.0)
    return episode.x.view(-1, n, episode.x.shape[1]).transpose(1, 2), torch.stack([similar, 1 - similar], dim=1)


def edge_loss(edges: list[Tensor], episode: gf.Episode, target: Tensor) -> Tensor:
    """The library's edge loss on `[B, 2, n, n]` edges: weights ½ for early layers, 1 for the last."""
    n = episode.sizes[0]
    label = episode.y.masked_scatter(episode.query, target).view(-1, n)
    query = episode.query.view(-1, n)
    counted = (query[:, :, None] | query[:, None]) & (label[:, :, None] >= 0) & (label[:, None] >= 0)
    counted &= ~torch.eye(n, dtype=torch.bool)
    same = label[:, :, None] == label[:, None]
    losses = [F.binary_cross_entropy(e[:, 0], same.to(e.dtype), reduction="none") for e in edges]
    terms = [loss[counted & same].mean() + loss[counted & ~same].mean() for loss in losses]
    return terms[-1] + 0.5 * sum(terms[:-1])
