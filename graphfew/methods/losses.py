"""Losses: functions of a `MethodOutput` and the queries' classes `[Q]`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.nn.method import MethodOutput
from graphfew.nn.readout import class_node_logits, one_hot

Loss = Callable[[MethodOutput, Tensor], Tensor]


def node_loss(
    out: MethodOutput, target: Int[Tensor, " Q"], smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Compute the cross-entropy of the queries' logits, averaged over queries.

    Args:
        out: the output of any method.
        target: `[Q]` int64, the queries' classes.
        smoothing: label smoothing; this share of each target is uniform over the task's classes.

    Returns:
        A scalar.

    Raises:
        InvalidInputError: another number of targets than queries, or a smoothing outside `[0, 1)`.

    Example:
        >>> import torch, graphfew as gf
        >>> out = gf.MethodOutput(torch.zeros(2, 4), graphs=())
        >>> gf.node_loss(out, torch.tensor([0, 3])).item() == torch.tensor(4.0).log().item()
        True

    Source:
        The smoothing: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, 2016, Rethinking the Inception
        Architecture for Computer Vision.

    Deviations:
        none.
    """
    _check_length(out, target)
    if not 0 <= smoothing < 1:
        raise InvalidInputError(f"smoothing is {smoothing}; it must be at least 0 and below 1")
    cross_entropy = F.cross_entropy(out.logits, target)
    if smoothing == 0:
        return cross_entropy
    # Tasks of a batch can have different classes: `-inf` marks the classes that a task lacks.
    is_class = torch.isfinite(out.logits)
    log_normalizer = out.logits.logsumexp(1, keepdim=True)
    log_probs = torch.where(is_class, out.logits, 0.0) - log_normalizer
    uniform = -(log_probs * is_class).sum(1) / is_class.sum(1)
    return (1 - smoothing) * cross_entropy + smoothing * uniform.mean()


def penalized_node_loss(out: MethodOutput, target: Int[Tensor, " Q"]) -> Float[Tensor, ""]:
    """Compute `node_loss` plus the penalty of the last graph, averaged over tasks.

    Args:
        out: the output of a method whose layers compute a penalty, such as `leo`.
        target: `[Q]` int64, the queries' classes.

    Returns:
        A scalar.

    Raises:
        InvalidInputError: another number of targets than queries, or a method without a penalty.

    Example:
        >>> import torch, graphfew as gf
        >>> y = torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(torch.randn(3, 4), y, query=y < 0, way=2)
        >>> leo = gf.create("leo", encoder=gf.backbones.identity(4))
        >>> gf.methods.penalized_node_loss(leo(episode), torch.tensor([0])).shape
        torch.Size([])

    Source:
        Rusu, Rao, Sygnowski, Vinyals, Pascanu, Osindero, Hadsell, 2019, Meta-Learning with Latent
        Embedding Optimization.

    Deviations:
        none; the weights of the terms are arguments of the method.
    """
    penalty = out.graphs[-1].penalty if out.graphs else None
    if penalty is None:
        raise InvalidInputError(
            "penalized_node_loss needs a method whose layers compute a penalty, such as leo; use "
            "node_loss for this method"
        )
    return node_loss(out, target) + penalty.mean()


def labeled_node_loss(out: MethodOutput, target: Int[Tensor, " Q"]) -> Float[Tensor, ""]:
    """Compute the cross-entropy of the last graph's nodes, averaged over queries and supports.

    Args:
        out: the output of a method whose last nodes are logits `[N, way]`, such as `tpn`.
        target: `[Q]` int64, the queries' classes.

    Returns:
        A scalar.

    Raises:
        InvalidInputError: another number of targets than queries, or nodes that are not logits.

    Example:
        >>> import torch, graphfew as gf
        >>> y = torch.tensor([0, 0, 1, 1, -1])
        >>> episode = gf.Episode.single(torch.randn(5, 3), y, query=y < 0, way=2)
        >>> tpn = gf.create("tpn", encoder=gf.backbones.identity(3))
        >>> gf.methods.labeled_node_loss(tpn(episode), torch.tensor([0])).shape
        torch.Size([])

    Source:
        Liu, Lee, Park, Kim, Kim, Yang, 2019, Learning to Propagate Labels: Transductive
        Propagation Network for Few-Shot Learning.

    Deviations:
        none.
    """
    _check_length(out, target)
    graph = out.graphs[-1]
    expected = (len(graph.episode.y), out.logits.shape[1])
    if graph.nodes.shape != expected:
        raise InvalidInputError(
            f"labeled_node_loss needs nodes that are logits, {list(expected)}; got nodes "
            f"{tuple(graph.nodes.shape)}; use node_loss for this method"
        )
    label = graph.episode.y.masked_scatter(graph.episode.query, target)
    is_labeled = label >= 0
    return F.cross_entropy(graph.nodes[is_labeled], label[is_labeled])


def relation_loss(out: MethodOutput, target: Int[Tensor, " Q"]) -> Float[Tensor, ""]:
    """Compute the mean squared error of the logits' sigmoid to the one-hot classes.

    Args:
        out: the output of any method.
        target: `[Q]` int64, the queries' classes.

    Returns:
        A scalar.

    Raises:
        InvalidInputError: another number of targets than queries.

    Example:
        >>> import torch, graphfew as gf
        >>> out = gf.MethodOutput(torch.zeros(2, 4), graphs=())
        >>> gf.methods.relation_loss(out, torch.tensor([0, 3]))
        tensor(0.2500)

    Source:
        Sung, Yang, Zhang, Xiang, Torr, Hospedales, 2018, Learning to Compare: Relation Network
        for Few-Shot Learning.

    Deviations:
        none.
    """
    _check_length(out, target)
    is_class = torch.isfinite(out.logits)
    labels = F.one_hot(target, out.logits.shape[1]).to(out.logits.dtype)
    return F.mse_loss(out.logits[is_class].sigmoid(), labels[is_class])


def edge_loss(
    out: MethodOutput, target: Int[Tensor, " Q"], early_weight: float = 0.5
) -> Float[Tensor, ""]:
    """Compute EGNN's loss: binary cross-entropy of the edges' similarity in every layer.

    It averages edges that have a query at one end and a known class at both. Same-class and
    other edges have equal weight: means are taken over the edges of each kind in a task, then
    over tasks, so that the number of queries of a task does not matter.

    Formula:
        Σ_l w_l (mean BCE over same-class edges + mean BCE over other edges)

    Args:
        out: the output of a method with edges `(similarity, dissimilarity)`, such as `egnn`.
        target: `[Q]` int64, the queries' classes.
        early_weight: weight of every layer but the last, which has weight 1.

    Returns:
        A scalar.

    Raises:
        InvalidInputError: another number of targets than queries, or edges without two channels.

    Example:
        >>> import torch, graphfew as gf
        >>> y = torch.tensor([0, 0, 1, 1, -1])
        >>> episode = gf.Episode.single(torch.randn(5, 3), y, query=y < 0, way=2)
        >>> egnn = gf.create("egnn", encoder=gf.backbones.identity(3), width=8)
        >>> gf.edge_loss(egnn(episode), torch.tensor([0])).shape
        torch.Size([])

    Source:
        Kim, Kim, Kim, Yoo, 2019, Edge-Labeling Graph Neural Network for Few-Shot Learning.

    Deviations:
        Self-loops do not count, since they are constant; neither do edges to unlabeled nodes,
        whose classes are unknown.
    """
    _check_length(out, target)
    layers = out.graphs[1:]
    channels = layers[-1].edges.shape[1] if layers else 0
    if channels != 2:
        raise InvalidInputError(
            f"edge_loss needs layers with edges [E, 2]; got {len(layers)} layers with {channels} "
            f"channels; use node_loss for this method"
        )
    weight, is_same = _edge_weights(layers[-1], target)
    terms = [_weighted_bce(graph.edges[:, 0], weight, is_same) for graph in layers]
    return _weighted_sum(terms, early_weight)


def pair_loss(out: MethodOutput, target: Int[Tensor, " Q"]) -> Float[Tensor, ""]:
    """Compute the binary cross-entropy of the last graph's edges, as logits of "same class".

    Same-class and other pairs have equal weight: means are taken over the pairs of each kind in a
    task, then over tasks.

    Args:
        out: the output of a method with edges `[E, 1]` from supports to queries, such as `siamese`.
        target: `[Q]` int64, the queries' classes.

    Returns:
        A scalar.

    Raises:
        InvalidInputError: another number of targets than queries, or edges without one channel.

    Example:
        >>> import torch, graphfew as gf
        >>> y = torch.tensor([0, 0, 1, 1, -1])
        >>> episode = gf.Episode.single(torch.randn(5, 3), y, query=y < 0, way=2)
        >>> siamese = gf.create("siamese", encoder=gf.backbones.identity(3))
        >>> gf.methods.pair_loss(siamese(episode), torch.tensor([0])).shape
        torch.Size([])

    Source:
        Koch, Zemel, Salakhutdinov, 2015, Siamese Neural Networks for One-shot Image Recognition.

    Deviations:
        Weights balance the two kinds of pairs (the paper samples equally many).
    """
    _check_length(out, target)
    graph = out.graphs[-1]
    if graph.edges.shape[1] != 1:
        raise InvalidInputError(
            f"pair_loss needs edges [E, 1]; got {graph.edges.shape[1]} channels; use edge_loss or "
            f"node_loss for this method"
        )
    weight, is_same = _edge_weights(graph, target)
    logits = graph.edges[:, 0].to(is_same.dtype)
    terms = F.binary_cross_entropy_with_logits(logits, is_same, reduction="none")
    return (terms * weight).sum() / 2


def dpgn_loss(
    out: MethodOutput, target: Int[Tensor, " Q"], early_weight: float = 0.2
) -> Float[Tensor, ""]:
    """Compute DPGN's loss over all of its generations.

    It counts edges from supports to queries, with equal weight of same-class and other edges. The
    class scores of a generation are minus the mean squared distance to the supports of each class.

    Formula:
        Σ_l w_l (BCE of point edges + 0.1 BCE of distribution edges + 0.1 CE of class scores)

    Args:
        out: the output of `dpgn`.
        target: `[Q]` int64, the queries' classes.
        early_weight: weight of every generation but the last, which has weight 1.

    Returns:
        A scalar.

    Raises:
        InvalidInputError: another number of targets than queries, or edges without three channels.

    Example:
        >>> import torch, graphfew as gf
        >>> y = torch.tensor([0, 1, -1])
        >>> episode = gf.Episode.single(torch.randn(3, 4), y, query=y < 0, way=2)
        >>> dpgn = gf.create("dpgn", encoder=gf.backbones.identity(4), way=2).eval()
        >>> gf.methods.dpgn_loss(dpgn(episode), torch.tensor([0])).shape
        torch.Size([])

    Source:
        Yang, Li, Zhang, Zhou, Zhou, Liu, 2020, DPGN: Distribution Propagation Graph Network for
        Few-Shot Learning.

    Deviations:
        Edges between queries do not count: they start at 0 and remain there.
    """
    _check_length(out, target)
    generations = out.graphs[2:]
    if not generations or generations[-1].edges.shape[1] != 3:
        raise InvalidInputError(
            "dpgn_loss needs generations with edges [E, 3], as dpgn has; use edge_loss or node_loss"
        )
    terms = [_generation_loss(graph, target) for graph in generations]
    return _weighted_sum(terms, early_weight)


def edge_node_loss(out: MethodOutput, target: Int[Tensor, " Q"]) -> Float[Tensor, ""]:
    """Compute `edge_loss + node_loss`, with which EGNN learns faster than with `edge_loss`.

    Args:
        out: the output of a method with edges `(similarity, dissimilarity)`, such as `egnn`.
        target: `[Q]` int64, the queries' classes.

    Returns:
        A scalar.

    Raises:
        InvalidInputError: another number of targets than queries, or edges without two channels.

    Example:
        >>> import torch, graphfew as gf
        >>> y = torch.tensor([0, 0, 1, 1, -1])
        >>> episode = gf.Episode.single(torch.randn(5, 3), y, query=y < 0, way=2)
        >>> egnn = gf.create("egnn", encoder=gf.backbones.identity(3), width=8)
        >>> gf.edge_node_loss(egnn(episode), torch.tensor([0])).shape
        torch.Size([])

    Source:
        none; the EGNN paper trains with the edge loss only.
    """
    return edge_loss(out, target) + node_loss(out, target)


def multi_step_loss(
    out: MethodOutput, target: Int[Tensor, " Q"], weights: Sequence[float] | None = None
) -> Float[Tensor, ""]:
    """Compute the weighted sum of `node_loss` after each inner step.

    In evaluation, methods return the scores after the last step only, and the loss is `node_loss`.

    Args:
        out: the output of `maml_plus_plus`; channel 0 of the edges holds the scores after the last
            step, the others those after the steps before, the latest first.
        target: `[Q]` int64, the queries' classes.
        weights: weight of each step, the first step first; None for their mean. See
            `multi_step_weights`.

    Returns:
        A scalar.

    Raises:
        InvalidInputError: another number of targets than queries, or of weights than steps, or an
            output without graphs.

    Example:
        >>> import torch, graphfew as gf
        >>> y = torch.tensor([0, 0, 1, 1, -1])
        >>> episode = gf.Episode.single(torch.randn(5, 3), y, query=y < 0, way=2)
        >>> model = gf.create("maml_plus_plus", encoder=gf.backbones.identity(3))
        >>> gf.methods.multi_step_loss(model(episode), torch.tensor([0])).shape
        torch.Size([])

    Source:
        Antoniou, Edwards, Storkey, 2019, How to Train Your MAML.

    Deviations:
        The weights do not change by themselves during training; pass those of the epoch.
    """
    _check_length(out, target)
    if not out.graphs:
        raise InvalidInputError(
            "multi_step_loss got an output without graphs, which hold the scores of each inner step; "
            "use node_loss"
        )
    graph = out.graphs[-1]
    n_steps = graph.edges.shape[1]
    if n_steps == 1:
        return node_loss(out, target)
    if weights is None:
        weights = [1 / n_steps] * n_steps
    if len(weights) != n_steps:
        raise InvalidInputError(
            f"multi_step_loss got {len(weights)} weights for {n_steps} inner steps; pass one per "
            "step"
        )
    losses = []
    for step, weight in enumerate(reversed(weights)):
        logits = class_node_logits(graph.replace(edges=graph.edges[:, step : step + 1]))
        losses.append(weight * F.cross_entropy(logits, target))
    return torch.stack(losses).sum()


def multi_step_weights(steps: int, epoch: int, annealing_epochs: int) -> tuple[float, ...]:
    """Compute the weights of `multi_step_loss` in an epoch, from equal ones to the last step alone.

    Formula:
        S steps, epoch e of E:  v = max(1/S - e/(S·E), 0.03/S) for all steps but the last,
        min(1/S + e(S-1)/(S·E), 1 - 0.03(S-1)/S) for the last;  from e = E on, 0 and 1

    Args:
        steps: number of inner steps.
        epoch: the epoch, from 0.
        annealing_epochs: number of epochs after which only the last step counts; 15 on
            miniImageNet and 10 on Omniglot in the paper.

    Returns:
        One weight per step, the first step first.

    Raises:
        InvalidInputError: a number is below 1, or the epoch is negative.

    Example:
        >>> import graphfew as gf
        >>> [round(w, 3) for w in gf.methods.multi_step_weights(2, epoch=5, annealing_epochs=10)]
        [0.25, 0.75]

    Source:
        Antoniou, Edwards, Storkey, 2019, How to Train Your MAML; the published code.

    Deviations:
        none.
    """
    if steps < 1 or epoch < 0 or annealing_epochs < 1:
        raise InvalidInputError(
            f"multi_step_weights got steps={steps}, epoch={epoch}, annealing_epochs="
            f"{annealing_epochs}; steps and annealing_epochs must be at least 1, epoch at least 0"
        )
    if epoch >= annealing_epochs:
        return (*[0.0] * (steps - 1), 1.0)
    done = epoch / annealing_epochs
    other = max((1 - done) / steps, 0.03 / steps)
    last = min((1 + done * (steps - 1)) / steps, 1 - 0.03 * (steps - 1) / steps)
    return (*[other] * (steps - 1), last)


# The names that configurations and the command line use.
LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "node": node_loss,
        "penalized-node": penalized_node_loss,
        "edge": edge_loss,
        "joint": edge_node_loss,
        "pair": pair_loss,
        "relation": relation_loss,
        "known-nodes": labeled_node_loss,
        "dpgn": dpgn_loss,
        "multi-step": multi_step_loss,
    }
)


def _weighted_sum(terms: list[Tensor], early_weight: float) -> Tensor:
    """The last term plus all others times `early_weight`."""
    total = terms[-1]
    for term in terms[:-1]:
        total = total + early_weight * term
    return total


def _generation_loss(graph: Graph, target: Tensor) -> Tensor:
    weight, is_same = _edge_weights(graph, target, supports_only=True)
    point = _weighted_bce(graph.edges[:, 0], weight, is_same)
    distribution = _weighted_bce(graph.edges[:, 1], weight, is_same)
    episode = graph.episode
    labels = one_hot(episode, graph.edges)
    shots = labels.new_zeros(episode.n_tasks, labels.shape[1]).index_add(0, episode.task, labels)
    query_shots = shots[episode.task[episode.query]]
    totals = graph.topology.propagate(graph.edges[:, 2:], labels)[episode.query]
    scores = totals / query_shots.clamp_min(1)
    scores = scores.masked_fill(query_shots == 0, -torch.inf)
    return point + 0.1 * distribution + 0.1 * F.cross_entropy(scores, target)


def _edge_weights(
    graph: Graph, target: Tensor, *, supports_only: bool = False
) -> tuple[Tensor, Tensor]:
    """Weights `[E]` that average edges by kind and task, then tasks, and the kind `[E]`.

    The kind is 1 for edges between nodes of the same class, else 0. Edges without a query, or with
    an unknown class at one end, have weight 0; with `supports_only` only those from supports to
    queries count.
    """
    episode, topology = graph.episode, graph.topology
    label = episode.y.masked_scatter(episode.query, target)
    receiver_label, sender_label = label[topology.receivers], label[topology.senders]
    is_query_receiver = episode.query[topology.receivers]
    if supports_only:
        is_selected = is_query_receiver & episode.labeled[topology.senders]
    else:
        is_selected = is_query_receiver | episode.query[topology.senders]
    is_known = (receiver_label >= 0) & (sender_label >= 0)
    is_same = receiver_label == sender_label
    # Autocast turns edges into bfloat16, which cannot count beyond 256.
    dtype = torch.promote_types(graph.edges.dtype, torch.float32)
    is_counted = (is_selected & is_known & ~topology.is_self_loop).to(dtype)
    group = 2 * episode.task[topology.receivers] + is_same
    group_size = is_counted.new_zeros(2 * episode.n_tasks).index_add(0, group, is_counted)
    weight = is_counted / group_size.clamp_min(1)[group] / episode.n_tasks
    return weight, is_same.to(dtype)


def _weighted_bce(similarity: Tensor, weight: Tensor, is_same: Tensor) -> Tensor:
    # torch rejects binary_cross_entropy under autocast on a GPU.
    with torch.autocast(similarity.device.type, enabled=False):
        probs = similarity.to(is_same.dtype)
        terms = F.binary_cross_entropy(probs, is_same, reduction="none")
    return (terms * weight).sum()


def _check_length(out: MethodOutput, target: Tensor) -> None:
    if len(target) != len(out.logits):
        raise InvalidInputError(
            f"got {len(target)} targets for {len(out.logits)} queries; pass one class index per "
            "query"
        )
