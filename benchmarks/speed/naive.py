"""EGNN and GNN evaluated the way that research code of 2019 does it: every ordered pair, 1x1 convolutions, NCHW.

Node features are `[B, F, n]`, edges `[B, 2, n, n]`, and the edge network runs on `|v_i - v_j|` as a `[B, F, n, n]`
image of all n² ordered pairs. Inductive episodes repeat the support once per query. The formula is the library's; batch
statistics in training are over all ordered pairs, self-loops included.
"""

from __future__ import annotations

import copy

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
        eye = torch.eye(n, dtype=nodes.dtype, device=nodes.device)
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


class NaiveGnn(nn.Module):
    """GNN on nodes `[B, n, F]`: the softmax of a network of all ordered pairs, then a convolution, in turn."""

    def __init__(
        self, adjacencies: list[nn.Module], maps: list[nn.Module], norms: list[nn.Module]
    ) -> None:
        super().__init__()
        self.adjacencies, self.maps, self.norms = map(nn.ModuleList, (adjacencies, maps, norms))

    def forward(self, nodes: Tensor) -> Tensor:
        """`nodes [B, n, F]` to logits `[B, n, way]`."""
        loops = torch.eye(nodes.shape[1], dtype=nodes.dtype, device=nodes.device) * -1e8
        for place, (adjacency, linear, norm) in enumerate(
            zip(self.adjacencies, self.maps, self.norms, strict=True)
        ):
            image = nodes.transpose(1, 2)
            logits = adjacency((image.unsqueeze(3) - image.unsqueeze(2)).abs()).squeeze(1)
            mixed = torch.bmm((logits + loops).softmax(-1), nodes)
            new = linear(torch.cat([nodes, mixed], dim=2))
            new = norm(new.transpose(1, 2)).transpose(1, 2)
            last = place == len(self.maps) - 1
            nodes = new if last else torch.cat([nodes, F.leaky_relu(new)], dim=2)
        return nodes


def gnn_from_model(model: gf.GraphMethod) -> NaiveGnn:
    """The naive form of a GNN of the library, with a copy of its weights and statistics, in its mode."""
    steps = list(model.layers.children())
    maps = [copy.deepcopy(step.convolution.linear) for step in steps]
    norms = [_norm1d(step.convolution.norm) for step in steps]
    return NaiveGnn([convolutional(step.adjacency.net) for step in steps], maps, norms).train(
        model.training
    )


def labeled_nodes(episode: gf.Episode) -> Tensor:
    """Nodes `[B, n, F + way]`: features, then the label, uniform where it is unknown."""
    way, n = episode.way[0], episode.sizes[0]
    known = (episode.y >= 0)[:, None]
    label = torch.where(known, F.one_hot(episode.y.clamp_min(0), way).to(episode.x.dtype), 1 / way)
    return torch.cat([episode.x, label.to(episode.x.dtype)], dim=1).view(
        -1, n, episode.x.shape[1] + way
    )


def _norm1d(norm: nn.Module) -> nn.Module:
    if isinstance(norm, nn.Identity):
        return nn.Identity()
    out = nn.BatchNorm1d(norm.norm.num_features).to(norm.norm.weight)
    out.load_state_dict(norm.norm.state_dict())
    return out


def convolutional(net: nn.Module) -> nn.Sequential:
    """Linear maps as 1x1 convolutions and batch norm over rows as over pixels, with the activation that follows."""
    out: list[nn.Module] = []
    for module in net.children():
        if isinstance(module, nn.Linear):
            convolution = nn.Conv2d(
                module.in_features, module.out_features, 1, bias=module.bias is not None
            )
            convolution.to(module.weight)
            convolution.load_state_dict(
                {
                    name: value[..., None, None] if name == "weight" else value
                    for name, value in module.state_dict().items()
                }
            )
            out.append(convolution)
        elif isinstance(module, nn.Dropout):
            out.append(nn.Dropout2d(module.p))
        else:
            norm = nn.BatchNorm2d(module.norm.num_features).to(module.norm.weight)
            norm.load_state_dict(module.norm.state_dict())
            out += [norm, nn.LeakyReLU(module.slope)]
    return nn.Sequential(*out)


def tensors(episode: gf.Episode) -> tuple[Tensor, Tensor]:
    """Nodes `[B, F, n]` and first edges `[B, 2, n, n]` of equal-sized tasks. Raises ValueError for other tasks."""
    if len(set(episode.sizes)) > 1:
        raise ValueError(
            f"tasks of {sorted(set(episode.sizes))} nodes; this form needs equal sizes"
        )
    n = episode.sizes[0]
    label = episode.y.view(-1, n)
    known = (label[:, :, None] >= 0) & (label[:, None] >= 0)
    similar = torch.where(known, (label[:, :, None] == label[:, None]).to(episode.x.dtype), 0.5)
    similar = similar.to(episode.x.dtype).masked_fill(
        torch.eye(n, dtype=torch.bool, device=episode.x.device), 1.0
    )
    return episode.x.view(-1, n, episode.x.shape[1]).transpose(1, 2), torch.stack(
        [similar, 1 - similar], dim=1
    )


def edge_loss(edges: list[Tensor], episode: gf.Episode, target: Tensor) -> Tensor:
    """The library's edge loss on `[B, 2, n, n]` edges: weights ½ for early layers, 1 for the last."""
    n = episode.sizes[0]
    label = episode.y.masked_scatter(episode.query, target).view(-1, n)
    query = episode.query.view(-1, n)
    counted = (
        (query[:, :, None] | query[:, None]) & (label[:, :, None] >= 0) & (label[:, None] >= 0)
    )
    counted &= ~torch.eye(n, dtype=torch.bool, device=query.device)
    same = label[:, :, None] == label[:, None]
    precise = torch.promote_types(edges[0].dtype, torch.float32)
    with torch.autocast(
        target.device.type, enabled=False
    ):  # on a GPU torch refuses this loss under it
        losses = [
            F.binary_cross_entropy(e[:, 0].to(precise), same.to(precise), reduction="none")
            for e in edges
        ]
    terms = [loss[counted & same].mean() + loss[counted & ~same].mean() for loss in losses]
    return terms[-1] + 0.5 * sum(terms[:-1])
