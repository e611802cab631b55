"""Embedding propagation: features are smoothed over their graph before label propagation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from graphfew.core.dense_batch import DenseBatch, map_to_edges, map_to_node_scores
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.label_graphs import complete_item_graph
from graphfew.nn.method import GraphMethod, Layer
from graphfew.nn.readout import node_logits
from graphfew.propagation.affinity import squared_distances
from graphfew.propagation.solvers import dense_propagation_matrix

# Added to the node degrees and to the propagated labels, as in the published code.
DEGREE_EPSILON = 1e-4
LABEL_EPSILON = 1e-6
VARIANCE_EPSILON = 1e-30


def propagator(x: Tensor, alpha: float) -> Tensor:
    """Compute the propagator `P = (I - αS)⁻¹` of each task.

    `S = D^-½ A D^-½` with `A_ij = exp(-d²_ij / s)` and `A_ii = 0`, where `s` is the standard
    deviation of the task's squared distances between distinct nodes.

    Args:
        x: `[G, n, F]` node features.
        alpha: propagation strength α in `(0, 1)`.

    Returns:
        `[G, n, n]`.
    """
    distance = squared_distances(x, x)
    is_loop = torch.eye(distance.shape[1], dtype=torch.bool, device=x.device)
    # Zero distances of self-loops would bias the scale.
    variance = distance[:, ~is_loop].var(dim=1, unbiased=False)
    deviation = variance.clamp_min(VARIANCE_EPSILON).sqrt()
    affinity = (-distance / deviation[:, None, None]).exp() * ~is_loop
    inv_sqrt_degree = (affinity.sum(2) + DEGREE_EPSILON).rsqrt()
    scaled = alpha * inv_sqrt_degree[:, :, None] * affinity * inv_sqrt_degree[:, None]
    return dense_propagation_matrix(scaled)


def propagator_edges(alpha: float) -> Callable[[Graph], Graph]:
    """Return a layer that sets the edges to the propagator of the current nodes."""

    def task_edges(tasks: DenseBatch) -> Tensor:
        return propagator(tasks.x, alpha)[..., None]

    def layer(graph: Graph) -> Graph:
        # map_to_edges reads the episode's features, so the current nodes take their place.
        current = graph.episode.encode(lambda _: graph.nodes)
        return graph.replace(edges=map_to_edges(current, task_edges))

    return layer


def propagate_features(graph: Graph) -> Graph:
    """Replace the nodes `x` by `P x`."""
    return graph.replace(nodes=graph.topology.propagate(graph.edges, graph.nodes))


def propagate_labels(graph: Graph) -> Graph:
    """Replace the nodes by `log(P Y + 1e-6)`; rows of `P` and columns of `Y` sum to 1."""
    graph = graph.replace(edges=graph.topology.normalize(graph.edges))
    return graph.replace(nodes=map_to_node_scores(graph, _log_propagated_labels))


def _log_propagated_labels(tasks: DenseBatch) -> Tensor:
    assert tasks.edges is not None
    # Columns sum to 1, so that a class with more shots is not favored.
    label = tasks.one_hot / tasks.one_hot.sum(1, keepdim=True)
    return (torch.bmm(tasks.edges[..., 0], label) + LABEL_EPSILON).log()


@register_method(paper="Rodríguez et al. 2020", loss=node_loss, transductive=True, unlabeled=True)
def epnet(
    encoder: nn.Module,
    *,
    dim: int | None = None,
    smoothing: float = 0.5,
    alpha: float = 0.2,
    transductive: bool = True,
) -> GraphMethod:
    """Embedding propagation: label propagation on the graph of smoothed features.

    Formula:
        A_ij = exp(-‖z_i - z_j‖² / s), A_ii = 0,  s the standard deviation of ‖z_i - z_j‖², i ≠ j
        S = D^-½ A D^-½,  z̃ = (I - αS)⁻¹ z,  α = smoothing
        P = (I - αS̃)⁻¹ with the S̃ of z̃, rows normalized to sum 1,  α = alpha
        logit_qk = log(Σ_{y_j = k} P_qj / K_k + 1e-6),  K_k the number of supports of class k

    Args:
        encoder: `[N, ...] -> [N, F]`; pretrained by classification in the paper.
        dim: ignored; accepted for uniformity.
        smoothing: α of the feature propagation, in `(0, 1)`.
        alpha: α of the label propagation, in `(0, 1)`.
        transductive: all queries of a task in one graph; otherwise one graph per query.

    Returns:
        A `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if `smoothing` or `alpha` is outside `(0, 1)`.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("epnet", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Rodríguez, Laradji, Drouin, Lacoste, 2020, Embedding Propagation: Smoother Manifold for
        Few-Shot Classification.

    Deviations:
        The kernel is divided by the standard deviation of the squared distances, as in the
        published code (the paper's variance fits one scale of features only). Columns of Y sum to
        1, so that a class with more shots is not favored. The auxiliary losses on training classes
        and rotations are not included.
    """
    del dim
    for name, value in (("smoothing", smoothing), ("alpha", alpha)):
        if not 0 < value < 1:
            raise InvalidInputError(f"{name} must be between 0 and 1 (exclusive), got {value}")
    layers: list[Layer] = [
        propagator_edges(smoothing),
        propagate_features,
        propagator_edges(alpha),
        propagate_labels,
    ]
    return GraphMethod(encoder, complete_item_graph, layers, node_logits, transductive=transductive)
