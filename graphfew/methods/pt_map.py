"""PT-MAP: class nodes move toward the queries that are softly assigned to them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.readout import class_node_logits
from graphfew.nn.soft_assignment import PrototypeUpdate, SoftAssignment, normalized_class_mean_graph
from graphfew.propagation.class_priors import check_prior
from graphfew.propagation.feature_transforms import check_center


@register_method(paper="Hu et al. 2021", inductive=False, transductive=True, unlabeled=True)
def pt_map(
    encoder: nn.Module,
    *,
    dim: int,
    power: float = 0.5,
    center: Sequence[float] | None = None,
    inv_temperature: float = 10.0,
    rate: float = 0.2,
    num_iterations: int = 20,
    prior: Sequence[float] | None = None,
    balanced: bool = False,
    prior_strength: float = 10.0,
) -> GraphMethod:
    """Power transform and maximum a posteriori: soft assignments and class means alternate.

    Formula:
        m_q = softmax_k(-β ‖x_q - c_k‖² + log π_k)
        π_k ∝ Σ_q m_qk + prior_strength · way · prior_k
        with balanced: m with row sums 1 and column sums prior_k · Q, by Sinkhorn's algorithm
        c_k ← c_k + rate · ((Σ_{y_i = k} x_i + Σ_q m_qk x_q) / (K_k + Σ_q m_qk) - c_k)
        num_iterations times;  logit_qk = log m_qk,  β = inv_temperature · log(way) / log 5

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
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
        InvalidInputError: if the prior is not positive, `prior_strength` is negative or `center`
            has the wrong length.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("pt_map", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Hu, Gripon, Pateux, 2021, Leveraging the Feature Distribution in Transfer-Based Few-Shot
        Learning.

    Deviations:
        Class proportions are estimated by default, as in a mixture model (the published code
        receives the true number of queries per class). Supports and queries share one center. The
        dimension is not reduced (this changes no distance). The inverse temperature depends on the
        way. Unlabeled nodes are assigned like queries.
    """
    check_prior(prior, prior_strength)
    check_center(center, dim)
    assignment = SoftAssignment(inv_temperature, prior, balanced, prior_strength)
    return GraphMethod(
        encoder,
        normalized_class_mean_graph(power, center),
        [PrototypeUpdate(assignment, rate, num_iterations)],
        class_node_logits,
    )
