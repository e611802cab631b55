"""PT-MAP: class nodes move to the queries that are assigned to them, all together."""

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
    sharpness: float = 10.0,
    rate: float = 0.2,
    rounds: int = 20,
    prior: Sequence[float] | None = None,
    balanced: bool = False,
    strength: float = 10.0,
) -> GraphMethod:
    """Queries are assigned to class nodes all together, which move to what they are assigned. Needs no training.

    Formula:
        m_q = softmax_k(-s ‖x_q - c_k‖² + log π_k),  π_k ∝ Σ_q m_qk + strength · way · prior_k
        with balanced: m of rows 1 and columns prior_k · Q, by Sinkhorn's algorithm on -s ‖x_q - c_k‖²
        c_k ← c_k + rate · ((Σ_{y_i = k} x_i + Σ_q m_qk x_q) / (K_k + Σ_q m_qk) - c_k),  rounds times
        logit_qk = log m_qk,  s = sharpness · log(way) / log 5

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        power, center: of the features, see `graphfew.propagation.feature_transforms.power_normalize`.
        sharpness: factor on the squared distance among 5 classes; it grows with the logarithm of their number.
        rate: how far a class node moves in a round.
        rounds: of assigning and moving.
        prior: proportions of the classes among the queries; None takes them as even.
        balanced: the paper's assumption, that the queries are divided exactly as the prior says (Sinkhorn's algorithm).
            Otherwise their proportions are estimated.
        strength: for how many queries of each class the prior counts in that estimate; 0 leaves it to the queries.

    Raises:
        ValueError: proportions that are not positive, a negative strength, or a center that does not fit.

    Source: Hu, Gripon, Pateux, 2021, Leveraging the Feature Distribution in Transfer-Based Few-Shot Learning.

    Deviations: proportions are estimated by default, as those of a mixture (the published code is handed the true
    number of queries of each class); one center for supports and queries; no reduction of dimensions, which changes no
    distance; the sharpness of other ways; unlabeled nodes are assigned as queries are.
    """
    check_prior(prior, strength)
    check_center(center, dim)
    assign = SoftAssignment(sharpness, prior, balanced, strength)
    return GraphMethod(
        encoder,
        normalized_class_mean_graph(power, center),
        [PrototypeUpdate(assign, rate, rounds)],
        class_node_logits,
    )
