"""Hybrid attention: prototypes that weigh their supports for each query, in a metric that weighs features per class."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from graphfew.core.dense_batch import DenseBatch, update_query_edges
from graphfew.core.graph import Graph
from graphfew.methods._checks import combine_checks, require_labeled, require_shot
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import class_mean_graph
from graphfew.nn.readout import class_node_logits


class FeatureAttention(nn.Module):
    """Weights of the features `[P, F]` of a class from its supports `[P, shot, F]`: three convolutions over them."""

    def __init__(self, shot: int, p: float) -> None:
        super().__init__()
        # Kernels of even height are padded to keep the height.
        same = nn.ZeroPad2d((0, 0, shot // 2, (shot - 1) // 2))
        self.net = nn.Sequential(
            same,
            nn.Conv2d(1, 32, (shot, 1)),
            nn.ReLU(),
            same,
            nn.Conv2d(32, 64, (shot, 1)),
            nn.ReLU(),
            nn.Dropout(p),
            nn.Conv2d(64, 1, (shot, 1)),
            nn.Softplus(threshold=40),
        )
        # Near 1 the metric begins as the plain distance.
        last = self.net[-2]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.constant_(last.bias, math.log(math.e - 1))

    def forward(self, supports: Tensor) -> Tensor:
        """`[P, shot, F]` to `[P, F]`."""
        out: Tensor = self.net(supports[:, None])
        return out[:, 0, 0]


class HybridDistance(nn.Module):
    """Edges `[E, 1]` from classes to queries: `-Σ_f z_cf (q_f - c_qf)²`; a class as the query sees it,
    `c_q = Σ_j softmax_j(Σ_f tanh(g(s_j) g(q))) s_j`, and z_c from the feature attention."""

    def __init__(self, dim: int, shot: int, p: float, instance: bool, feature: bool) -> None:
        super().__init__()
        self.shot = shot
        self.map = nn.Linear(dim, dim) if instance else None
        self.weigh = FeatureAttention(shot, p) if feature else None

    def forward(self, graph: Graph) -> Graph:
        """The graph with new edges; those from supports to classes stay."""
        return graph.replace(edges=update_query_edges(graph, self._distance))

    def _distance(self, tasks: DenseBatch) -> Tensor:
        supports = self._supports(tasks)
        prototypes = self._prototypes(tasks.x, supports)
        squares: Tensor = (tasks.x[:, :, None] - prototypes).square()
        if self.weigh is None:
            return -squares.sum(3)
        weights: Tensor = self.weigh(supports.flatten(0, 1)).view(
            len(supports), 1, *supports.shape[1::2]
        )
        return -(weights * squares).sum(3)

    def _supports(self, tasks: DenseBatch) -> Tensor:
        """`[G, way, shot, F]`, supports of a class in node order."""
        at = torch.nonzero(tasks.one_hot.mT)
        groups, _, way = tasks.one_hot.shape
        return tasks.x[at[:, 0], at[:, 2]].view(groups, way, self.shot, -1)

    def _prototypes(self, x: Tensor, supports: Tensor) -> Tensor:
        """`[G, n, way, F]`: each class as each node sees it; without instance attention the mean, `[G, 1, way, F]`."""
        if self.map is None:
            return supports.mean(2)[:, None]
        ours, theirs = self.map(x)[:, :, None, None], self.map(supports)[:, None]
        share = (ours * theirs).tanh().sum(4).softmax(dim=3)
        return torch.einsum("gnck,gckf->gncf", share, supports)


@register_method(paper="Gao et al. 2019", loss=node_loss, fixed_shot=True, node_order_matters=True)
def hybrid_attention(
    encoder: nn.Module,
    *,
    dim: int,
    shot: int = 5,
    p: float = 0.5,
    instance: bool = True,
    feature: bool = True,
) -> GraphMethod:
    """Prototypical networks with attention to supports (per query) and to features (per class); holds under noise.

    Formula:
        a_qj = softmax_{j of class k} Σ_f tanh(g(s_j)_f g(x_q)_f),  c_qk = Σ_{j of class k} a_qj s_j,  g linear
        z_k = softplus(convolutions over the supports of class k),  a weight for each feature
        logit_qk = -Σ_f z_kf (x_qf - c_qkf)²

    Args:
        encoder: `[N, ...] -> [N, dim]`; the paper's is `conv_text`.
        dim: the encoder's output width.
        shot: supports per class; the feature attention has weights for each, so training and test shot are equal.
        p: dropout in the feature attention.
        instance, feature: leave one of the two out, as the paper's ablation does.

    Train with `node_loss`. The supports of a class are read in node order, so that order may change an answer.

    Raises:
        ValueError: fewer than one shot; later, another number of supports in a class, or unlabeled nodes.

    Source: Gao, Han, Liu, Sun, 2019, Hybrid Attention-Based Prototypical Networks for Noisy Few-Shot Relation
    Classification.

    Deviations: kernels of even height are padded on one side less, so that every number of shots fits; the weights of
    features pass a softplus that begins at 1 (theirs a ReLU, which may die for all features and leave every class at
    distance 0).
    """
    if shot < 1:
        raise ValueError(f"shot is {shot}; give at least 1")
    check = combine_checks(
        require_labeled("hybrid_attention"), require_shot("hybrid_attention", shot)
    )
    return GraphMethod(
        encoder,
        class_mean_graph,
        [HybridDistance(dim, shot, p, instance, feature)],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=check,
        node_order_matters=True,
    )
