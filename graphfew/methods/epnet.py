"""Embedding propagation: features are smoothed over their graph, then labels propagate over the new one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from graphfew.core.dense_batch import DenseBatch, map_to_edges, map_to_node_scores
from graphfew.core.graph import Graph
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.label_graphs import labeled_graph
from graphfew.nn.method import GraphMethod, Layer
from graphfew.nn.readout import node_logits
from graphfew.propagation.affinity import squared_distances

EPSILON = 1e-4
TINY = 1e-30


def propagator(x: Tensor, alpha: float) -> Tensor:
    """`P = (I - αS)⁻¹ [G, n, n]` of nodes `[G, n, F]`: S = D^-½ A D^-½, `A_ij = exp(-d²_ij / s)` and 0 on the diagonal.

    s is the standard deviation of the task's squared distances between two nodes.
    """
    distance = squared_distances(x, x)
    eye = torch.eye(distance.shape[1], dtype=torch.bool, device=x.device)
    others = distance[:, ~eye]
    deviation = others.var(dim=1, unbiased=False).clamp_min(TINY).sqrt()
    weights = (-distance / deviation[:, None, None]).exp() * ~eye
    degree = (weights.sum(2) + EPSILON).rsqrt()
    out: Tensor = torch.linalg.inv(
        eye.to(x.dtype) - alpha * degree[:, :, None] * weights * degree[:, None]
    )
    return out


def propagate(alpha: float) -> Callable[[Graph], Graph]:
    """A layer: edges P of the nodes as they are."""

    def layer(graph: Graph) -> Graph:
        own = graph.episode.encode(lambda _: graph.nodes)
        return graph.replace(
            edges=map_to_edges(own, lambda tasks: propagator(tasks.x, alpha)[..., None])
        )

    return layer


def smooth(graph: Graph) -> Graph:
    """Nodes `P x`."""
    return graph.replace(nodes=graph.topology.propagate(graph.edges, graph.nodes))


def label(graph: Graph) -> Graph:
    """Nodes `log(P Y + 1e-6)`, rows of P brought to sum 1, Y with columns that sum to 1."""
    edges = graph.topology.normalize(graph.edges)
    return graph.replace(
        edges=edges, nodes=map_to_node_scores(graph.replace(edges=edges), _log_labels)
    )


def _log_labels(tasks: DenseBatch) -> Tensor:
    assert tasks.edges is not None
    shares = tasks.one_hot / tasks.one_hot.sum(1, keepdim=True)
    return (torch.bmm(tasks.edges[..., 0], shares) + 1e-6).log()


@register_method(paper="Rodríguez et al. 2020", loss=node_loss, transductive=True, unlabeled=True)
def epnet(
    encoder: nn.Module,
    *,
    dim: int | None = None,
    smoothing: float = 0.5,
    alpha: float = 0.2,
    transductive: bool = True,
) -> GraphMethod:
    """Features propagate over their own graph; labels propagate over the graph of the smoothed features.

    Formula:
        A_ij = exp(-‖z_i - z_j‖² / s) and A_ii = 0,  s the standard deviation of ‖z_i - z_j‖² over i ≠ j
        S = D^-½ A D^-½,  z̃ = (I - αS)⁻¹ z,  α = smoothing
        P = (I - αS̃)⁻¹ with the S̃ of z̃, rows brought to sum 1,  α = alpha
        logit_qk = log(Σ_{y_j = k} P_qj / K_k + 1e-6),  K_k the supports of class k

    Args:
        encoder: `[N, ...] -> [N, F]`; trained before, by classification in the paper.
        dim: unused; every method takes it.
        smoothing: α of the features' propagation, in `(0, 1)`.
        alpha: α of the labels' propagation, in `(0, 1)`.
        transductive: all queries of a task in one graph, or one graph per query.

    Train with `node_loss`.

    Raises:
        ValueError: smoothing or alpha outside `(0, 1)`.

    Source: Rodríguez, Laradji, Drouin, Lacoste, 2020, Embedding Propagation: Smoother Manifold for Few-Shot
    Classification.

    Deviations: the kernel is divided by the standard deviation of the squared distances, as in the code (the paper's
    variance fits one scale of features only); columns of Y sum to 1, so that a class with more shots is not favored;
    its losses on the training classes and on rotations are not part of it.
    """
    del dim
    for name, value in (("smoothing", smoothing), ("alpha", alpha)):
        if not 0 < value < 1:
            raise ValueError(f"{name} is {value}; it must lie between 0 and 1")
    layers: list[Layer] = [propagate(smoothing), smooth, propagate(alpha), label]
    return GraphMethod(encoder, labeled_graph, layers, node_logits, transductive=transductive)
