"""Pool prototypes: class nodes that move to the unlabeled nodes that are theirs, some of which may be nobody's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.dense_batch import (
    DenseBatch,
    class_softmax,
    scale_sharpness,
    update_classes_and_queries,
    weighted_class_means,
)
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import class_mean_graph as with_class_means
from graphfew.nn.readout import class_node_logits
from graphfew.propagation.affinity import squared_distances
from graphfew.propagation.class_priors import check_prior, class_prior, unknown_mask
from graphfew.propagation.feature_transforms import (
    check_center,
    power_normalize,
    project_to_principal_axes,
)

TINY = 1e-9


class Divide:
    """How nodes share themselves among class nodes and none of them, their classes held towards a prior.

    Of the scores `-s d²` of the classes, shifted each by its own number, and of `-s limit` for none, the softmax. After
    each of `rounds` softmaxes the shifts become `balance (shift + log(expected / got))`, where the expected part of a
    class is the prior's part of what all classes got together.
    """

    def __init__(
        self,
        sharpness: float,
        limit: float | None,
        balance: float,
        prior: Sequence[float] | None,
        rounds: int,
    ) -> None:
        self.sharpness = sharpness
        self.limit = limit
        self.balance = balance
        self.prior = prior
        self.rounds = rounds

    def scores(self, tasks: DenseBatch, classes: Tensor) -> Tensor:
        """`[G, n, way]`, without shifts."""
        return (
            -scale_sharpness(self.sharpness, classes.shape[1])
            * squared_distances(classes, tasks.x).mT
        )

    def __call__(
        self, tasks: DenseBatch, classes: Tensor, counted: Tensor, shift: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Shares `[G, n, way]` of the counted nodes, 0 for all others, the shifts `[G, way]` after them, and what the
        classes lack, `log(expected / got)`."""
        scores = self.scores(tasks, classes)
        prior = class_prior(self.prior, tasks.one_hot)
        if self.limit is not None:
            none = scores.new_full(
                (*scores.shape[:2], 1),
                -scale_sharpness(self.sharpness, classes.shape[1]) * self.limit,
            )
        for _ in range(self.rounds):
            shifted = scores + shift[:, None]
            shares = class_softmax(
                shifted if self.limit is None else torch.cat([shifted, none], dim=2)
            )
            shares = shares[..., : scores.shape[2]] * counted
            got = shares.sum(1)
            expected = got.sum(1, keepdim=True) * prior
            lack = (expected.clamp_min(TINY) / got.clamp_min(TINY)).log()
            shift = self.balance * (shift + lack)
        return shares, shift, lack


class Gather:
    """Class nodes after steps towards the mean of their supports and of what is theirs among the counted nodes; edges
    to queries are their scores in the end."""

    def __init__(self, divide: Divide, rate: float, rounds: int, *, transductive: bool) -> None:
        self.divide = divide
        self.rate = rate
        self.rounds = rounds
        self.transductive = transductive

    def __call__(self, graph: Graph) -> Graph:
        """The graph with new class nodes and edges."""
        return update_classes_and_queries(graph, self._gather)

    def _gather(self, tasks: DenseBatch) -> tuple[Tensor, Tensor]:
        assert tasks.class_nodes is not None
        counted = unknown_mask(tasks)
        if not self.transductive:
            counted = counted * ~tasks.query[..., None]
        classes, shift = tasks.class_nodes, torch.zeros_like(tasks.class_nodes[..., 0])
        for _ in range(self.rounds):
            shares, shift, _ = self.divide(tasks, classes, counted, shift)
            centers = weighted_class_means(shares + tasks.one_hot, tasks.x)
            classes = classes + self.rate * (centers - classes)
        _, shift, lack = self.divide(tasks, classes, counted, shift)
        # Shifts fit the pile as a whole; a query that is not of it is told only what the pile left undecided.
        return classes, self.divide.scores(tasks, classes) + (shift if self.transductive else lack)[
            :, None
        ]


@register_method(paper="Hu et al. 2021; Ren et al. 2018", transductive=True, unlabeled=True)
def pool_prototypes(
    encoder: nn.Module,
    *,
    dim: int,
    power: float = 1.0,
    center: Sequence[float] | None = None,
    components: int | None = None,
    sharpness: float = 10.0,
    limit: float | None = 0.9,
    balance: float = 0.5,
    prior: Sequence[float] | None = None,
    rate: float = 0.3,
    rounds: int = 20,
    transductive: bool = False,
) -> GraphMethod:
    """For a few labels and a pile of unlabeled nodes, some of which may be of no class of the task. Needs no training.

    Formula:
        m_j = softmax over the classes, -s ‖x_j - c_k‖² + b_k, and none of them, -s · limit;  j unlabeled
        b_k ← balance · (b_k + l_k),  l_k = log(prior_k Σ_jc m_jc / Σ_j m_jk),  10 times for every step of c
        c_k ← c_k + rate · ((Σ_{y_i = k} x_i + Σ_j m_jk x_j) / (K_k + Σ_j m_jk) - c_k),  rounds times
        logit_qk = -s ‖x_q - c_k‖² + l_k,  or + b_k transductively;  s = sharpness · log(way) / log 5

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        power, center: of the features, see `graphfew.propagation.feature_transforms.power_normalize`.
        components: keep this many leading directions of each task's context (`project_to_principal_axes`); None keeps
            all.
        sharpness: factor on the squared distance among 5 classes; it grows with the logarithm of their number.
        limit: squared distance, between features of length 1, from which on an unlabeled node belongs to no class
            rather than to one; None has every one belong to a class.
        balance: how strongly the classes are held to the prior's parts of the pile, from 0, not at all, to 1, exactly:
            give 1 where the pile is known to be divided so.
        prior: proportions of the classes in the pile; None takes them as even.
        rate: how far a class node moves in a round.
        rounds: of dividing and moving.
        transductive: queries are part of the pile. Otherwise each is answered alone, by class nodes that no query
            moved.

    Raises:
        ValueError: a balance outside 0 to 1, a limit, sharpness or number of components that is not positive,
            proportions that are not positive, or a center that does not fit.

    Source: Hu, Gripon, Pateux, 2021, Leveraging the Feature Distribution in Transfer-Based Few-Shot Learning; the class
    for none: Ren, Triantafillou, Ravi, Snell, Swersky, Tenenbaum, Larochelle, Zemel, 2018, Meta-Learning for
    Semi-Supervised Few-Shot Classification; parts held loosely: Chizat, Peyré, Schmitzer, Vialard, 2018, Scaling
    Algorithms for Unbalanced Optimal Transport Problems.

    Deviations: the combination is ours; its numbers were chosen on the validation classes of CIFAR-FS and on CLINC150's
    validation utterances.
    """
    if not 0 <= balance <= 1:
        raise ValueError(
            f"balance is {balance}; it must lie between 0 (no prior) and 1 (exactly as the prior says)"
        )
    for name, value in (("limit", limit), ("sharpness", sharpness), ("components", components)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} is {value}; it must be positive")
    check_prior(prior)
    check_center(center, dim)

    def embed(episode: Episode) -> Graph:
        over = None if transductive else ~episode.query
        episode = power_normalize(episode, power, center, over)
        if components is not None:
            episode = project_to_principal_axes(episode, components, over)
            episode = episode.encode(lambda x: F.normalize(x, dim=1))
        return with_class_means(episode)

    def other() -> GraphMethod:
        return pool_prototypes(
            encoder,
            dim=dim,
            power=power,
            center=center,
            components=components,
            sharpness=sharpness,
            limit=limit,
            balance=balance,
            prior=prior,
            rate=rate,
            rounds=rounds,
            transductive=not transductive,
        )

    divide = Divide(sharpness, limit, balance, prior, rounds=10)
    return GraphMethod(
        encoder,
        embed,
        [Gather(divide, rate, rounds, transductive=transductive)],
        class_node_logits,
        transductive=transductive,
        independent_queries=not transductive,
        build_other_mode=other,
    )
