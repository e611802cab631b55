"""Semi-supervised prototypical networks: prototypes refined by soft k-means, in three variants."""

from __future__ import annotations

import math

from torch import nn

from graphfew.errors import InvalidInputError
from graphfew.methods._soft_k_means import (
    Assign,
    DistractorCluster,
    DistractorMask,
    SoftKMeans,
    distance_probs,
    fit_soft_k_means,
)
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import class_mean_graph
from graphfew.nn.readout import class_node_logits


def _create(encoder: nn.Module, assign: Assign, steps: int) -> GraphMethod:
    return GraphMethod(
        encoder,
        class_mean_graph,
        [SoftKMeans(assign, steps)],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        fit_context=fit_soft_k_means,
    )


@register_method(paper="Ren et al. 2018", loss=node_loss, unlabeled=True)
def soft_k_means(encoder: nn.Module, *, dim: int | None = None, steps: int = 1) -> GraphMethod:
    """Prototypes refined by unlabeled nodes, weighted by their class probabilities.

    Train on tasks with unlabeled nodes. Queries never change class nodes; without unlabeled nodes
    this is `prototypical`. If unlabeled nodes can be OOD, see `soft_k_means_cluster` and
    `soft_k_means_masked`.

    Formula:
        m_jk = softmax_k(-‖x_j - c_k‖²),  j unlabeled,  c_k initially the mean of class k's supports
        c_k ← (Σ_{y_i = k} x_i + Σ_j m_jk x_j) / (K_k + Σ_j m_jk),  steps times
        logit_qk = -‖x_q - c_k‖²

    Args:
        encoder: `[N, ...] -> [N, F]`.
        dim: ignored; accepted for uniformity.
        steps: iterations of soft k-means.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if `steps` is below 1.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 1, -1, -1, -1])  # one support per class, two unlabeled
        >>> is_query = torch.arange(5) == 4
        >>> episode = gf.Episode.single(torch.randn(5, 8), labels, is_query, way=2)
        >>> model = gf.create("soft_k_means", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([1, 2])

    Source:
        Ren, Triantafillou, Ravi, Snell, Swersky, Tenenbaum, Larochelle, Zemel, 2018, Meta-Learning
        for Semi-Supervised Few-Shot Classification.

    Deviations:
        None.
    """
    del dim
    return _create(encoder, distance_probs, steps)


@register_method(paper="Ren et al. 2018", loss=node_loss, unlabeled=True)
def soft_k_means_cluster(
    encoder: nn.Module, *, dim: int | None = None, steps: int = 1, length_scale: float = 100.0
) -> GraphMethod:
    """`soft_k_means` with a distractor cluster for unlabeled nodes that are far from every class.

    Train on tasks with unlabeled nodes: without them the length-scale receives no gradient.

    Formula:
        m_j = softmax over the classes, -‖x_j - c_k‖², and the cluster, -‖x_j‖² / r² - log r
        c_k ← (Σ_{y_i = k} x_i + Σ_j m_jk x_j) / (K_k + Σ_j m_jk),  j unlabeled,  steps times
        logit_qk = -‖x_q - c_k‖²

    Args:
        encoder: `[N, ...] -> [N, F]`.
        dim: ignored; accepted for uniformity.
        steps: iterations of soft k-means.
        length_scale: initial value of `r`; its logarithm is learned. A node belongs to the cluster
            rather than to a class if its squared distance to the class node exceeds
            `log r + ‖x‖²/r²`, about 4.6 with the default. The right value depends on the scale of
            the features: those of length 1, whose squared distances are at most 4, need about 2.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if `steps` is below 1, or `length_scale` is not positive and finite.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 1, -1, -1, -1])  # one support per class, two unlabeled
        >>> is_query = torch.arange(5) == 4
        >>> episode = gf.Episode.single(torch.randn(5, 8), labels, is_query, way=2)
        >>> model = gf.create("soft_k_means_cluster", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([1, 2])

    Source:
        Ren, Triantafillou, Ravi, Snell, Swersky, Tenenbaum, Larochelle, Zemel, 2018, Meta-Learning
        for Semi-Supervised Few-Shot Classification.

    Deviations:
        A query has no logit for the cluster, since it belongs to one of the task's classes (the
        published code has one). As in the paper, the cluster stays at the origin and squared
        distances are not halved (in the code it moves to its members, and they are).
    """
    del dim
    if not (math.isfinite(length_scale) and length_scale > 0):
        raise InvalidInputError(f"length_scale must be positive and finite, got {length_scale}")
    return _create(encoder, DistractorCluster(length_scale), steps)


@register_method(paper="Ren et al. 2018", loss=node_loss, unlabeled=True)
def soft_k_means_masked(
    encoder: nn.Module, *, dim: int | None = None, steps: int = 1, hidden: int = 20
) -> GraphMethod:
    """`soft_k_means` with a learned mask of unlabeled nodes that are relatively far from a class.

    Train on tasks with unlabeled nodes: without them the mask receives no gradient.

    Formula:
        d_jk = ‖x_j - c_k‖² / mean_j ‖x_j - c_k‖²
        m_jk = softmax_k(-‖x_j - c_k‖²) · σ(γ_k (β_k - d_jk)),  j unlabeled
        (log β_k, log γ_k) = MLP(min, max, variance, skewness, kurtosis of d_jk over j)
        c_k ← (Σ_{y_i = k} x_i + Σ_j m_jk x_j) / (K_k + Σ_j m_jk),  steps times
        logit_qk = -‖x_q - c_k‖²

    Args:
        encoder: `[N, ...] -> [N, F]`.
        dim: ignored; accepted for uniformity.
        steps: iterations of soft k-means.
        hidden: hidden units of the MLP that predicts threshold and slope.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`.

    Raises:
        InvalidInputError: if `steps` or `hidden` is below 1.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 1, -1, -1, -1])  # one support per class, two unlabeled
        >>> is_query = torch.arange(5) == 4
        >>> episode = gf.Episode.single(torch.randn(5, 8), labels, is_query, way=2)
        >>> model = gf.create("soft_k_means_masked", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([1, 2])

    Source:
        Ren, Triantafillou, Ravi, Snell, Swersky, Tenenbaum, Larochelle, Zemel, 2018, Meta-Learning
        for Semi-Supervised Few-Shot Classification.

    Deviations:
        Where the paper leaves it open, as in the published code: threshold and slope are
        exponentials of the MLP's outputs, the kurtosis is the excess, and the statistics pass no
        gradient to the encoder. As in the paper and unlike the code, the mask is applied once
        (twice in the code). Later steps evaluate the MLP again (the threshold grows by a learned
        amount in the code).
    """
    del dim
    if hidden < 1:
        raise InvalidInputError(f"hidden must be at least 1, got {hidden}")
    return _create(encoder, DistractorMask(hidden), steps)
