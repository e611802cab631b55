"""Affinity graphs, the score layer, and what else methods that propagate labels share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from graphfew.core.builders import complete_graph
from graphfew.core.dense_batch import DenseBatch, map_to_edges, map_to_node_scores
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.core.topology import Topology
from graphfew.errors import InvalidInputError
from graphfew.nn.layers import Layers
from graphfew.nn.method import GraphMethod
from graphfew.nn.predictors import FitContext, FittedContext
from graphfew.nn.readout import node_logits, one_hot
from graphfew.propagation.affinity_graphs import FITTED_AFFINITIES, FittedAffinity
from graphfew.propagation.affinity_rows import AffinityRows
from graphfew.propagation.feature_transforms import check_center, power_normalize
from graphfew.propagation.fitted_transforms import PowerNormalizer, fit_power_normalizer
from graphfew.propagation.solvers import (
    DAMPING,
    DENSE_NODES,
    dense_propagation,
    sparse_matmul,
)

Affinity = Callable[[DenseBatch], Tensor]
DenseSolver = Callable[[DenseBatch], Tensor]
SparseSolver = Callable[[Topology, Tensor, Tensor], Tensor]
EPSILON = 1e-12


class PropagationLayer:
    """Layer that replaces the nodes by class log-probabilities `[N, max(way)]`.

    Args:
        solve: tasks as dense arrays to class scores `[G, n, way]`.
        sparse_solve: for one large task, a symmetric graph, its weights and the one-hot labels to
            class scores `[N, way]`.
        sender_solve: as `solve`, for the scores that receive-only queries average; None if these
            are the final scores, as they are at a fixed point.
    """

    def __init__(
        self,
        solve: DenseSolver,
        sparse_solve: SparseSolver,
        sender_solve: DenseSolver | None = None,
    ) -> None:
        self.solve = solve
        self.sparse_solve = sparse_solve
        self.sender_solve = sender_solve

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with new nodes."""
        if graph.topology.sizes is None:
            scores = self._sparse_scores(graph)
            return graph.replace(nodes=log_probs(scores[None])[0])
        nodes = map_to_node_scores(graph, lambda tasks: log_probs(self.solve(tasks)))
        return graph.replace(nodes=nodes)

    def scores(self, graph: Graph) -> Tensor:
        """Return the class scores `[N, way]` of the nodes of one task without queries."""
        if graph.topology.sizes is not None:
            return map_to_node_scores(graph, self.solve)
        return self.sparse_solve(graph.topology, graph.edges, one_hot(graph.episode, graph.edges))

    def sender_scores(self, graph: Graph, scores: Tensor) -> Tensor:
        """Return what receive-only queries average, given the final scores of all nodes."""
        if self.sender_solve is None or graph.topology.sizes is None:
            return scores
        return map_to_node_scores(graph, self.sender_solve)

    def _sparse_scores(self, graph: Graph) -> Tensor:
        topology = graph.topology
        label = one_hot(graph.episode, graph.edges)
        # In inductive mode queries receive without sending, so the graph is not symmetric. It
        # splits into the symmetric graph of all other nodes, which is solved, and the rows of
        # these queries, which average the solution.
        is_sender = torch.zeros(topology.num_nodes, dtype=torch.bool, device=topology.device)
        is_sender = is_sender.index_fill(0, topology.senders, True)
        is_receive_only = graph.episode.query & ~is_sender
        into_query = is_receive_only[topology.receivers]
        symmetric = _select_edges(topology, ~into_query)
        scores = self.sparse_solve(symmetric, graph.edges[~into_query], label)
        query_rows = _select_edges(topology, into_query)
        return scores + sparse_matmul(query_rows, graph.edges[into_query], scores)


def _select_edges(topology: Topology, mask: Tensor) -> Topology:
    links = (topology.senders[mask], topology.receivers[mask])
    return Topology(topology.num_nodes, topology.device, edge_index=links)


def affinity_graph(
    affinity: Affinity, power: float, center: Sequence[float] | None, transductive: bool
) -> Callable[[Episode], Graph]:
    """Return the embedding: normalized features and the affinity graph of each task.

    In inductive mode queries send nothing, and do not count in the mean of the features.
    """

    def task_edges(tasks: DenseBatch) -> Tensor:
        if not transductive:
            tasks = dataclasses.replace(tasks, receive_only=tasks.query)
        return affinity(tasks)[..., None]

    def embed(episode: Episode) -> Graph:
        counted = None if transductive else ~episode.query
        episode = power_normalize(episode, power, center, counted)
        if max(episode.sizes) > DENSE_NODES and affinity in FITTED_AFFINITIES:
            return _sparse_graph(episode, FITTED_AFFINITIES[affinity], transductive)
        edges = map_to_edges(episode, task_edges)
        topology = complete_graph(episode.sizes, episode.x.device)
        return Graph(episode.x, edges, topology, episode)

    return embed


def _sparse_graph(episode: Episode, affinity: FittedAffinity, transductive: bool) -> Graph:
    """Build the sparse graph of one large task."""
    if episode.n_tasks > 1:
        raise InvalidInputError(
            f"the episode has {episode.n_tasks} tasks, one of them with {max(episode.sizes)} "
            f"nodes; pass tasks with more than {DENSE_NODES} nodes one at a time"
        )
    if transductive:
        graph = affinity.graph(episode.x)
        return Graph(episode.x, graph.weights, graph.topology, episode)
    context = torch.nonzero(~episode.query).flatten()
    query = torch.nonzero(episode.query).flatten()
    graph = affinity.graph(episode.x[context])
    neighbor, query_weights = graph.rows.neighbors(episode.x[query])
    # Indices within the context become indices within the episode.
    senders = torch.cat([context[graph.topology.senders], context[neighbor.flatten()]])
    receivers = torch.cat(
        [context[graph.topology.receivers], query.repeat_interleave(neighbor.shape[1])]
    )
    # Topology expects edges sorted by receiver.
    order = receivers.argsort(stable=True)
    links = (senders[order], receivers[order])
    topology = Topology(len(episode.y), receivers.device, edge_index=links)
    weights = torch.cat([graph.weights, query_weights.reshape(-1, 1)])[order]
    return Graph(episode.x, weights, topology, episode)


@dataclasses.dataclass(frozen=True, eq=False)
class PropagationPredictor:
    """Predictor that averages the class scores of a query's neighbors in the context.

    Attributes:
        normalizer: of the features.
        rows: the affinities of queries to the nodes of the context.
        scores: `[N, way]` class scores of these nodes.
    """

    normalizer: PowerNormalizer
    rows: AffinityRows
    scores: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits `[Q, way]` of features `[Q, F]`."""
        scores = self.rows.average(self.normalizer(x), self.scores)
        return log_probs(scores[None])[0]


def fit_propagation(
    affinity: Affinity, power: float, center: Sequence[float] | None
) -> FitContext | None:
    """Return the fitted form of a method of one `PropagationLayer` in inductive mode.

    The layer solves the graph of the context once; its scores are what each query averages. None
    for an affinity that is not one of the library's, whose rows cannot be computed alone.
    """
    if affinity not in FITTED_AFFINITIES:
        return None
    fitted_affinity = FITTED_AFFINITIES[affinity]

    def fit_context(layers: Layers, context: Episode) -> FittedContext:
        layer = layers[0]
        assert isinstance(layer, PropagationLayer)
        normalizer = fit_power_normalizer(context.x, power, center)
        context = context.encode(normalizer)
        if len(context.y) > DENSE_NODES:
            sparse = fitted_affinity.graph(context.x)
            rows = sparse.rows
            graph = Graph(context.x, sparse.weights, sparse.topology, context)
        else:
            rows = fitted_affinity.rows(context.x)
            edges = map_to_edges(context, lambda tasks: affinity(tasks)[..., None])
            graph = Graph(context.x, edges, complete_graph(context.sizes), context)
        scores = layer.scores(graph)
        unlabeled = log_probs(scores[None, ~context.labeled])[0]
        predictor = PropagationPredictor(normalizer, rows, layer.sender_scores(graph, scores))
        return FittedContext(predictor, unlabeled)

    return fit_context


def propagation_method(
    encoder: nn.Module,
    layer: PropagationLayer,
    *,
    dim: int,
    affinity: Affinity,
    power: float,
    center: Sequence[float] | None,
    transductive: bool,
) -> GraphMethod:
    """Build a method of one `PropagationLayer`, which is the same in both modes.

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        layer: the layer.
        dim: output width of the encoder.
        affinity: function from tasks as dense arrays to edge weights `[G, n, n]`.
        power: exponent of the power transform.
        center: mean feature to subtract, `dim` numbers; None uses the mean of each task.
        transductive: queries are nodes like unlabeled ones; otherwise they only receive.

    Returns:
        The method.

    Raises:
        InvalidInputError: if `center` has the wrong length.
    """
    check_center(center, dim)

    def build(transductive: bool) -> GraphMethod:
        return GraphMethod(
            encoder,
            affinity_graph(affinity, power, center, transductive),
            [layer],
            node_logits,
            transductive=transductive,
            independent_queries=not transductive,
            build_other_mode=lambda: build(not transductive),
            fit_context=None if transductive else fit_propagation(affinity, power, center),
        )

    return build(transductive)


def solve_symmetric(solve: Callable[[Tensor, Tensor], Tensor]) -> DenseSolver:
    """Return a solver of tasks as dense arrays from one of symmetric graphs.

    Args:
        solve: from symmetric weights `[G, n, n]` and one-hot labels `[G, n, way]` to class scores.

    Returns:
        The solver. Receive-only queries average the scores of their neighbors.
    """

    def solve_tasks(tasks: DenseBatch) -> Tensor:
        weights = edge_weights(tasks)
        query_rows = weights * receive_only_nodes(weights)
        scores = solve(weights - query_rows, tasks.one_hot)
        return scores + torch.bmm(query_rows, scores)

    return solve_tasks


def receive_only_nodes(weights: Tensor) -> Tensor:
    """Return which nodes of graphs `[G, n, n]` receive without sending, `[G, n, 1]` bool."""
    return ((weights.sum(1) == 0) & (weights.sum(2) > 0))[..., None]


def harmonic_scores(weights: Tensor, label: Tensor) -> Tensor:
    """Solve `F_U = (I - T_UU)⁻¹ T_UL Y_L` per task.

    Args:
        weights: edge weights `[G, n, n]`.
        label: one-hot labels `[G, n, way]`.

    Returns:
        Class scores `[G, n, way]`.
    """
    transition = weights / weights.sum(2, keepdim=True).clamp_min(EPSILON)
    is_unlabeled = (~label.any(2))[..., None].to(transition.dtype)
    # Rows of labeled nodes are those of the identity, so one system covers both kinds of node. The
    # damping keeps it regular if a component of the graph has no label.
    return dense_propagation((1 - DAMPING) * is_unlabeled * transition, label)


def edge_weights(tasks: DenseBatch) -> Tensor:
    """Return the affinity matrices `[G, n, n]` of the tasks."""
    assert tasks.edges is not None
    return tasks.edges[..., 0]


def log_probs(scores: Tensor) -> Tensor:
    """Normalize class scores `[G, n, way]` and take the logarithm; nodes without any are uniform.

    The solvers can return values slightly below zero. The lower bound of the probabilities keeps
    gradients finite.
    """
    scores = scores.clamp_min(0)
    total = scores.sum(2, keepdim=True)
    uniform = 1 / scores.shape[2]
    # A division by 0 in the branch that is not selected would still make gradients NaN.
    probs = torch.where(total > 0, scores / total.masked_fill(total == 0, 1), uniform)
    return probs.clamp_min(EPSILON).log()
