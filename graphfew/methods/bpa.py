"""BPA: soft assignments to class means of balanced pairwise affinities."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import class_mean_graph
from graphfew.nn.readout import class_node_logits
from graphfew.nn.soft_assignment import PrototypeUpdate, SoftAssignment
from graphfew.propagation.class_priors import check_prior
from graphfew.propagation.feature_transforms import check_center, power_normalize
from graphfew.propagation.pairwise_affinities import balanced_pairwise_affinities


@register_method(paper="Shalam & Korman 2024", inductive=False, transductive=True, unlabeled=True)
def bpa(
    encoder: nn.Module,
    *,
    dim: int,
    regularization: float = 0.2,
    sinkhorn_iterations: int = 10,
    power: float = 0.5,
    center: Sequence[float] | None = None,
    inv_temperature: float = 10.0,
    rate: float = 0.2,
    num_iterations: int = 20,
    prior: Sequence[float] | None = None,
    balanced: bool = False,
    prior_strength: float = 10.0,
) -> GraphMethod:
    """Balanced pairwise affinities as features, then soft assignments and class means in turn.

    Another method uses the same features by `GraphMethod.with_transform`.

    Formula:
        x ← power transform and centering,  x ← balanced pairwise affinities,  x ← centering
        logit_qk and class nodes as in `pt_map`, on these x

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        regularization: temperature of the affinities, see
            `graphfew.propagation.balanced_pairwise_affinities`.
        sinkhorn_iterations: iterations that balance the affinities.
        power: exponent of the power transform, see
            `graphfew.propagation.feature_transforms.power_normalize`.
        center: mean feature to subtract, `dim` numbers; None uses the mean of each task.
        inv_temperature: factor on the squared distance for 5 classes; it grows with the logarithm
            of the way.
        rate: step size of the class nodes.
        num_iterations: iterations of assignment and update.
        prior: class proportions of the queries; None means uniform.
        balanced: the queries have exactly the proportions of the prior, as the paper assumes
            (Sinkhorn's algorithm). Otherwise their proportions are estimated.
        prior_strength: pseudo-count per class of the prior in that estimate; 0 ignores the prior.

    Returns:
        A transductive `GraphMethod` with logits `[Q, way]`. It needs no training.

    Raises:
        InvalidInputError: if `regularization` is not positive, `sinkhorn_iterations` is below 1,
            the prior is not positive, `prior_strength` is negative or `center` has the wrong
            length.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("bpa", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Shalam, Korman, 2024, The Balanced-Pairwise-Affinities Feature Transform.

    Deviations:
        Those of `graphfew.propagation.balanced_pairwise_affinities` and `pt_map`. The transform is
        not trained.
    """
    if not regularization > 0:
        raise InvalidInputError(f"regularization must be positive, got {regularization}")
    if sinkhorn_iterations < 1:
        raise InvalidInputError(
            f"sinkhorn_iterations must be at least 1, got {sinkhorn_iterations}"
        )
    check_prior(prior, prior_strength)
    check_center(center, dim)

    def embed(episode: Episode) -> Graph:
        normalized = power_normalize(episode, power, center)
        affinities = balanced_pairwise_affinities(normalized, regularization, sinkhorn_iterations)
        return class_mean_graph(power_normalize(affinities, 1.0, None))

    assignment = SoftAssignment(inv_temperature, prior, balanced, prior_strength)
    return GraphMethod(
        encoder, embed, [PrototypeUpdate(assignment, rate, num_iterations)], class_node_logits
    )
