"""PT-MAP: class nodes move to the queries that are assigned to them, all together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from graphfew.affinity import squared_distances
from graphfew.dense import Dense, as_sure, class_softmax, members_mean, settle
from graphfew.episode import Episode
from graphfew.features import check_centre, prepared
from graphfew.graph import Graph
from graphfew.methods.prototypical import embed as with_class_means
from graphfew.model import GraphMethod
from graphfew.priors import check_prior, estimated, proportions, transported, unknown
from graphfew.readout import from_classes

TINY = 1e-30


def embed(power: float, centre: Sequence[float] | None) -> Callable[[Episode], Graph]:
    """Prepared features, and class nodes that are the mean of their supports."""
    return lambda episode: with_class_means(prepared(episode, power, centre))


class Assign:
    """How queries and unlabelled nodes share themselves among class nodes, `[G, n, way]`; rows of supports are 0."""

    def __init__(self, sharpness: float, prior: Sequence[float] | None, balanced: bool, strength: float) -> None:
        self.sharpness = sharpness
        self.prior = prior
        self.balanced = balanced
        self.strength = strength

    def __call__(self, tasks: Dense, classes: Tensor, assigned: Tensor | None) -> Tensor:
        """Shares given class nodes `[G, way, F]` and, after the first time, the shares before."""
        scores = -as_sure(self.sharpness, classes.shape[1]) * squared_distances(classes, tasks.x).mT
        counted, prior = unknown(tasks), proportions(self.prior, tasks.label)
        if self.balanced:
            return transported(scores, counted, prior)
        part = prior[None] if assigned is None else estimated(assigned, prior, self.strength)
        return class_softmax(scores + part.log()[:, None]) * counted


class Move:
    """Class nodes after `rounds` steps towards the mean of their supports and of what is assigned to them.

    Edges to queries are the logarithm of their shares in the end.
    """

    def __init__(self, assign: Assign, rate: float, rounds: int) -> None:
        self.assign = assign
        self.rate = rate
        self.rounds = rounds

    def __call__(self, graph: Graph) -> Graph:
        """The graph with new class nodes and edges."""
        return settle(graph, self._move)

    def _move(self, tasks: Dense) -> tuple[Tensor, Tensor]:
        assert tasks.classes is not None
        classes = tasks.classes
        assigned = self.assign(tasks, classes, None)
        for _ in range(self.rounds):
            centres = members_mean(assigned + tasks.label, tasks.x)
            classes = classes + self.rate * (centres - classes)
            assigned = self.assign(tasks, classes, assigned)
        return classes, assigned.clamp_min(TINY).log()


def pt_map(encoder: nn.Module, *, dim: int, power: float = 0.5, centre: Sequence[float] | None = None,
           sharpness: float = 10.0, rate: float = 0.2, rounds: int = 20, prior: Sequence[float] | None = None,
           balanced: bool = False, strength: float = 10.0) -> GraphMethod:
    """Queries are assigned to class nodes all together, which move to what they are assigned. Needs no training.

    Formula:
        m_q = softmax_k(-s ‖x_q - c_k‖² + log π_k),  π_k ∝ Σ_q m_qk + strength · way · prior_k
        with balanced: m of rows 1 and columns prior_k · Q, by Sinkhorn's algorithm on -s ‖x_q - c_k‖²
        c_k ← c_k + rate · ((Σ_{y_i = k} x_i + Σ_q m_qk x_q) / (K_k + Σ_q m_qk) - c_k),  rounds times
        logit_qk = log m_qk,  s = sharpness · log(way) / log 5

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        power, centre: of the features, see `graphfew.features.prepared`.
        sharpness: factor on the squared distance among 5 classes; it grows with the logarithm of their number.
        rate: how far a class node moves in a round.
        rounds: of assigning and moving.
        prior: proportions of the classes among the queries; None takes them as even.
        balanced: the paper's assumption, that the queries are divided exactly as the prior says (Sinkhorn's algorithm).
            Otherwise their proportions are estimated.
        strength: for how many queries of each class the prior counts in that estimate; 0 leaves it to the queries.

    Raises:
        ValueError: proportions that are not positive, a negative strength, or a centre that does not fit.

    Source: Hu, Gripon, Pateux, 2021, Leveraging the Feature Distribution in Transfer-Based Few-Shot Learning.

    Deviations: proportions are estimated by default, as those of a mixture (the published code is handed the true
    number of queries of each class); one centre for supports and queries; no reduction of dimensions, which changes no
    distance; the sharpness of other ways; unlabelled nodes are assigned as queries are.
    """
    check_prior(prior, strength)
    check_centre(centre, dim)
    assign = Assign(sharpness, prior, balanced, strength)
    return GraphMethod(encoder, embed(power, centre), [Move(assign, rate, rounds)], from_classes)
