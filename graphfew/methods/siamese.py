"""Siamese networks: a learned similarity score of two items."""

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
    """Edges `[E, 1]`: `Σ_f a_f n_f(|x_if - x_jf|) + b` of the two nodes, the logit of "same class".

    Batch norm `n` standardizes the distances of each feature over pairs, so that one initialization
    of `a` fits every scale of the features. In evaluation mode it only changes `a` and `b`.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim, affine=False)
        self.score = nn.Linear(dim, 1)
        # Negative weights: before training, predictions are those of the nearest support.
        nn.init.constant_(self.score.weight, -1.0 / dim)
        nn.init.zeros_(self.score.bias)

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with new edges."""
        return graph.replace(edges=graph.topology.apply_edges(self._score, graph.nodes))

    def _score(self, a: Tensor, b: Tensor) -> Tensor:
        out: Tensor = self.score(self.norm(absolute_difference(a, b)))
        return out


def embed(episode: Episode) -> Graph:
    """Link every labeled support to every query of its task."""
    topology = support_to_query_graph(episode)
    edges = episode.x.new_zeros(len(topology.receivers), 1)
    return Graph(episode.x, edges, topology, episode)


@register_method(paper="Koch et al. 2015", loss=pair_loss)
def siamese(encoder: nn.Module, *, dim: int) -> GraphMethod:
    """Siamese network: class of the most similar support under a learned, weighted L1 distance.

    Formula:
        s(x, x') = Σ_f a_f n_f(|x_f - x'_f|) + b,  n_f standardizes feature f over pairs
        logit_qk = max_{y_i = k} s(x_q, x_i)

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `pair_loss`. The logits are
        those of the best pair per class.

    Raises:
        InvalidInputError: later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("siamese", encoder=gf.backbones.identity(8))
        >>> model.eval()(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Koch, Zemel, Salakhutdinov, 2015, Siamese Neural Networks for One-shot Image Recognition.

    Deviations:
        Pairs come from episodes (the paper draws them from the whole training set, half of them of
        the same class). The weights of the distance start at -1/dim and are learned in units of the
        standard deviation of each feature's distance.
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
