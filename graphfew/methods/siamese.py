"""Siamese networks: one learned score of two items, with no class and no update."""

from __future__ import annotations

from torch import Tensor, nn

from graphfew.core.builders import support_to_query_graph
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.methods._checks import require_labeled
from graphfew.methods.losses import pair_loss
from graphfew.methods.registry import register_method
from graphfew.nn.layers import absolute_difference
from graphfew.nn.method import GraphMethod
from graphfew.nn.readout import nearest_support_logits


class PairScore(nn.Module):
    """Edges `[E, 1]`: `Σ_f a_f |x_if - x_jf| + b` of their two ends, whose sigmoid is "same class".

    The distances are learned in units of their spread over pairs, so that a and b are of one size whatever the
    features; in evaluation mode that is a change of a and b alone.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim, affine=False)
        self.score = nn.Linear(dim, 1)
        # Far apart is unlike: a start that answers as the nearest support does.
        nn.init.constant_(self.score.weight, -1.0 / dim)
        nn.init.zeros_(self.score.bias)

    def forward(self, graph: Graph) -> Graph:
        """The graph with new edges."""
        return graph.replace(edges=graph.topology.apply_edges(self._pair, graph.nodes))

    def _pair(self, a: Tensor, b: Tensor) -> Tensor:
        out: Tensor = self.score(self.norm(absolute_difference(a, b)))
        return out


def embed(episode: Episode) -> Graph:
    """Every labeled support to every query of its task."""
    topology = support_to_query_graph(episode)
    return Graph(episode.x, episode.x.new_zeros(len(topology.receivers), 1), topology, episode)


@register_method(paper="Koch et al. 2015", loss=pair_loss)
def siamese(encoder: nn.Module, *, dim: int) -> GraphMethod:
    """The class of the support that a learned, weighted L1 distance finds most likely of the query's class.

    Formula:
        s(x, x') = Σ_f a_f n_f(|x_f - x'_f|) + b,  n_f standardizes the distances of feature f over pairs
        logit_qk = max_{y_i = k} s(x_q, x_i)

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.

    Train with `pair_loss`. The logits are those of the best pair of each class.

    Raises:
        ValueError: a task with unlabeled nodes.

    Source: Koch, Zemel, Salakhutdinov, 2015, Siamese Neural Networks for One-shot Image Recognition.

    Deviations: pairs come from episodes (theirs are drawn from the whole training set, half of them alike); the weights
    of the distance begin at -1/dim, and are learned in units of each feature's spread.
    """
    return GraphMethod(
        encoder,
        embed,
        [PairScore(dim)],
        nearest_support_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("siamese"),
    )
