"""Affinity graphs and the score layer of `label_propagation` and `label_spreading`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from graphfew.core.builders import complete_graph
from graphfew.core.dense_batch import DenseBatch, map_to_edges, map_to_node_scores
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.core.topology import Topology
from graphfew.errors import InvalidInputError
from graphfew.nn.readout import one_hot
from graphfew.propagation.affinity import SPARSE_AFFINITIES, SparseAffinity
from graphfew.propagation.feature_transforms import power_normalize
from graphfew.propagation.solvers import DENSE_NODES, sparse_matmul

Affinity = Callable[[DenseBatch], Tensor]
SparseSolver = Callable[[Topology, Tensor, Tensor], Tensor]
EPSILON = 1e-12


class PropagationLayer:
    """Layer that replaces the nodes by class log-probabilities `[N, max(way)]`.

    Args:
        solve: tasks as dense arrays to class scores `[G, n, way]`.
        sparse_solve: for one large task, a symmetric graph, its weights and the one-hot labels to
            class scores `[N, way]`.
    """

    def __init__(self, solve: Callable[[DenseBatch], Tensor], sparse_solve: SparseSolver) -> None:
        self.solve = solve
        self.sparse_solve = sparse_solve

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with new nodes."""
        if graph.topology.sizes is None:
            scores = self._sparse_scores(graph)
            return graph.replace(nodes=log_probs(scores[None])[0])
        nodes = map_to_node_scores(graph, lambda tasks: log_probs(self.solve(tasks)))
        return graph.replace(nodes=nodes)

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
        if max(episode.sizes) > DENSE_NODES and affinity in SPARSE_AFFINITIES:
            return _sparse_graph(episode, SPARSE_AFFINITIES[affinity], transductive)
        edges = map_to_edges(episode, task_edges)
        topology = complete_graph(episode.sizes, episode.x.device)
        return Graph(episode.x, edges, topology, episode)

    return embed


def _sparse_graph(episode: Episode, affinity: SparseAffinity, transductive: bool) -> Graph:
    """Build the sparse graph of one large task."""
    if episode.n_tasks > 1:
        raise InvalidInputError(
            f"the episode has {episode.n_tasks} tasks, one of them with {max(episode.sizes)} "
            f"nodes; pass tasks with more than {DENSE_NODES} nodes one at a time"
        )
    if transductive:
        topology, weights = affinity.graph(episode.x)
        return Graph(episode.x, weights, topology, episode)
    context = torch.nonzero(~episode.query).flatten()
    query = torch.nonzero(episode.query).flatten()
    context_topology, context_weights = affinity.graph(episode.x[context])
    neighbor, query_weights = affinity.to_queries(episode.x[query], episode.x[context])
    # Indices within the context become indices within the episode.
    senders = torch.cat([context[context_topology.senders], context[neighbor.flatten()]])
    receivers = torch.cat(
        [context[context_topology.receivers], query.repeat_interleave(neighbor.shape[1])]
    )
    # Topology expects edges sorted by receiver.
    order = receivers.argsort(stable=True)
    links = (senders[order], receivers[order])
    topology = Topology(len(episode.y), receivers.device, edge_index=links)
    weights = torch.cat([context_weights, query_weights.reshape(-1, 1)])[order]
    return Graph(episode.x, weights, topology, episode)


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
