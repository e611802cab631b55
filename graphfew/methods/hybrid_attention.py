"""Hybrid attention: prototypical networks with attention to supports and to features."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from graphfew.core.dense_batch import DenseBatch, update_query_edges
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.methods._checks import combine_checks, require_labeled, require_shot
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import class_mean_graph
from graphfew.nn.readout import class_node_logits


class FeatureAttention(nn.Module):
    """Feature weights of each class: three convolutions over the supports of the class."""

    def __init__(self, shot: int, p: float) -> None:
        super().__init__()
        # "Same" padding along the shots; for even kernels one side is a row shorter.
        padding = nn.ZeroPad2d((0, 0, shot // 2, (shot - 1) // 2))
        self.net = nn.Sequential(
            padding,
            nn.Conv2d(1, 32, (shot, 1)),
            nn.ReLU(),
            padding,
            nn.Conv2d(32, 64, (shot, 1)),
            nn.ReLU(),
            nn.Dropout(p),
            nn.Conv2d(64, 1, (shot, 1)),
            nn.Softplus(threshold=40),
        )
        # softplus(log(e - 1)) = 1: the metric starts close to the plain Euclidean distance.
        output = self.net[-2]
        assert isinstance(output, nn.Conv2d)
        assert output.bias is not None
        nn.init.constant_(output.bias, math.log(math.e - 1))

    def forward(self, supports: Tensor) -> Tensor:
        """Map the supports of each class `[P, shot, F]` to feature weights `[P, F]`."""
        out: Tensor = self.net(supports[:, None])
        return out[:, 0, 0]


class HybridDistance(nn.Module):
    """Edges `[E, 1]` from classes to queries: `-Σ_f z_cf (q_f - c_qf)²`.

    The prototype `c_q = Σ_j softmax_j(Σ_f tanh(g(s_j) g(q))) s_j` depends on the query, and the
    feature weights `z_c` come from the feature attention.
    """

    def __init__(
        self, dim: int, shot: int, p: float, instance_attention: bool, feature_attention: bool
    ) -> None:
        super().__init__()
        self.shot = shot
        self.linear = nn.Linear(dim, dim) if instance_attention else None
        self.feature_attention = FeatureAttention(shot, p) if feature_attention else None

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with new edges to queries; edges to classes do not change."""
        return graph.replace(edges=update_query_edges(graph, self._negative_distance))

    def _negative_distance(self, tasks: DenseBatch) -> Tensor:
        supports = self._supports(tasks)
        prototypes = self._prototypes(tasks.x, supports)
        # `[G, n, way, F]`; rows of supports are computed too, but not read.
        squares: Tensor = (tasks.x[:, :, None] - prototypes).square()
        if self.feature_attention is None:
            return -squares.sum(3)
        groups, way, _, features = supports.shape
        weights: Tensor = self.feature_attention(supports.flatten(0, 1))
        return -(weights.view(groups, 1, way, features) * squares).sum(3)

    def _supports(self, tasks: DenseBatch) -> Tensor:
        """Return the supports by class, `[G, way, shot, F]`, in node order."""
        # nonzero of `[G, way, n]` lists the supports task by task and class by class.
        index = torch.nonzero(tasks.one_hot.mT)
        groups, _, way = tasks.one_hot.shape
        return tasks.x[index[:, 0], index[:, 2]].view(groups, way, self.shot, -1)

    def _prototypes(self, x: Tensor, supports: Tensor) -> Tensor:
        """Return query-specific prototypes `[G, n, way, F]`, or plain means `[G, 1, way, F]`."""
        if self.linear is None:
            return supports.mean(2)[:, None]
        query = self.linear(x)[:, :, None, None]
        key = self.linear(supports)[:, None]
        # `[G, n, way, shot]`: one weight per support, separately for every query and class.
        attention = (query * key).tanh().sum(4).softmax(dim=3)
        return torch.einsum("gnck,gckf->gncf", attention, supports)


@register_method(paper="Gao et al. 2019", loss=node_loss, fixed_shot=True, node_order_matters=True)
def hybrid_attention(
    encoder: nn.Module,
    *,
    dim: int,
    shot: int = 5,
    p: float = 0.5,
    instance_attention: bool = True,
    feature_attention: bool = True,
) -> GraphMethod:
    """Prototypical networks with attention to supports and features, robust to noisy supports.

    The convolutions read the supports of a class in node order, so the order can change
    predictions.

    Formula:
        a_qj = softmax_{j of class k} Σ_f tanh(g(s_j)_f g(x_q)_f),  g linear
        c_qk = Σ_{j of class k} a_qj s_j
        z_k = softplus(convolutions over the supports of class k),  one weight per feature
        logit_qk = -Σ_f z_kf (x_qf - c_qkf)²

    Args:
        encoder: `[N, ...] -> [N, dim]`; `conv_text` in the paper.
        dim: output width of the encoder.
        shot: supports per class; the feature attention has weights per support, so tasks in
            training and evaluation need the same shot.
        p: dropout probability in the feature attention.
        instance_attention: attend to the supports; otherwise use their mean.
        feature_attention: weight the features; otherwise use the plain distance.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if `shot` is below 1; later, if a class has another number of supports,
            or a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("hybrid_attention", encoder=gf.backbones.identity(8), shot=2)
        >>> model.eval()(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Gao, Han, Liu, Sun, 2019, Hybrid Attention-Based Prototypical Networks for Noisy Few-Shot
        Relation Classification.

    Deviations:
        Kernels of even height are padded asymmetrically, so that every shot is possible. The
        feature weights pass a softplus that starts at 1 (the published ReLU can become 0 for all
        features, which puts every class at distance 0).
    """
    if shot < 1:
        raise InvalidInputError(f"shot must be at least 1, got {shot}")
    check = combine_checks(
        require_labeled("hybrid_attention"), require_shot("hybrid_attention", shot)
    )
    return GraphMethod(
        encoder,
        class_mean_graph,
        [HybridDistance(dim, shot, p, instance_attention, feature_attention)],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=check,
        node_order_matters=True,
    )
