"""Pool prototypes: class nodes updated with unlabeled nodes, some of which can be OOD."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.dense_batch import (
    DenseBatch,
    dense_task,
    scale_sharpness,
    update_classes_and_queries,
)
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.methods._outlier_assignment import OutlierAwareAssignment
from graphfew.methods.registry import register_method
from graphfew.nn.layers import Layers
from graphfew.nn.method import GraphMethod
from graphfew.nn.predictors import (
    ClassNodePredictor,
    FeatureTransform,
    FittedContext,
    TransformedPredictor,
)
from graphfew.nn.prototypes import class_mean_graph, class_means
from graphfew.nn.readout import class_node_logits
from graphfew.propagation.class_priors import check_prior, unknown_mask
from graphfew.propagation.feature_transforms import (
    check_center,
    power_normalize,
    project_to_principal_axes,
)
from graphfew.propagation.fitted_transforms import (
    fit_power_normalizer,
    fit_principal_projection,
)


class PoolPrototypeUpdate:
    """Class nodes that move to the mean of their supports and of the nodes assigned to them.

    Edges to queries are the final logits.
    """

    def __init__(
        self,
        assignment: OutlierAwareAssignment,
        rate: float,
        num_iterations: int,
        *,
        transductive: bool,
    ) -> None:
        self.assignment = assignment
        self.rate = rate
        self.num_iterations = num_iterations
        self.transductive = transductive

    def __call__(self, graph: Graph) -> Graph:
        """Return the graph with new class nodes and edges."""
        return update_classes_and_queries(graph, self._update)

    def fit_context(self, context: Episode) -> FittedContext:
        """Compute the class nodes and biases of one normalized task without queries."""
        tasks = dense_task(context, class_means(context))
        classes, bias, log_ratio = self._move_classes(tasks, unknown_mask(tasks))
        beta = scale_sharpness(self.assignment.inv_temperature, context.way[0])
        predictor = ClassNodePredictor(classes[0], scale=beta, bias=log_ratio[0])
        logits = self.assignment.logits(tasks, classes) + bias[:, None]
        return FittedContext(predictor, logits[0, ~context.labeled])

    def _update(self, tasks: DenseBatch) -> tuple[Tensor, Tensor]:
        mask = unknown_mask(tasks)
        if not self.transductive:
            mask = mask * ~tasks.query[..., None]
        classes, bias, log_ratio = self._move_classes(tasks, mask)
        # The biases fit the class proportions of the assigned nodes. Queries of the inductive mode
        # are not among these nodes; for them only the remaining log-ratio applies.
        query_bias = bias if self.transductive else log_ratio
        return classes, self.assignment.logits(tasks, classes) + query_bias[:, None]

    def _move_classes(self, tasks: DenseBatch, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the final class nodes, their biases and remaining log-ratios."""
        assert tasks.class_nodes is not None
        classes = tasks.class_nodes
        bias = torch.zeros_like(classes[..., 0])
        for _ in range(self.num_iterations):
            assigned = self.assignment(tasks, classes, mask, bias)
            bias = assigned.bias
            classes = classes + self.rate * (assigned.class_means - classes)
        assigned = self.assignment(tasks, classes, mask, bias)
        return classes, assigned.bias, assigned.log_ratio


@register_method(paper="Hu et al. 2021; Ren et al. 2018", transductive=True, unlabeled=True)
def pool_prototypes(
    encoder: nn.Module,
    *,
    dim: int,
    power: float = 1.0,
    center: Sequence[float] | None = None,
    n_components: int | None = None,
    inv_temperature: float = 10.0,
    outlier_threshold: float | None = 0.9,
    prior_weight: float = 0.5,
    prior: Sequence[float] | None = None,
    rate: float = 0.3,
    num_iterations: int = 20,
    transductive: bool = False,
) -> GraphMethod:
    """Prototypes for few labels and many unlabeled nodes, some of which can be OOD.

    Formula:
        m_j = softmax over the classes, -β ‖x_j - c_k‖² + b_k, and the outlier class, -β θ
        l_k = log(prior_k Σ_jc m_jc / Σ_j m_jk),  b_k ← prior_weight · (b_k + l_k),  10 times
        c_k ← c_k + rate · ((Σ_{y_i = k} x_i + Σ_j m_jk x_j) / (K_k + Σ_j m_jk) - c_k)
        num_iterations times;  j unlabeled,  θ = outlier_threshold
        logit_qk = -β ‖x_q - c_k‖² + l_k,  or + b_k in transductive mode
        β = inv_temperature · log(way) / log 5

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        power: exponent of the power transform, see
            `graphfew.propagation.feature_transforms.power_normalize`.
        center: mean feature to subtract, `dim` numbers; None uses the mean of each task.
        n_components: number of principal axes of each task's context to keep
            (`project_to_principal_axes`); None keeps all.
        inv_temperature: factor on the squared distance for 5 classes; it grows with the logarithm
            of the way.
        outlier_threshold: squared distance, between features of length 1, above which an unlabeled
            node rather belongs to the outlier class; None removes that class.
        prior_weight: how strictly the class proportions of the unlabeled nodes follow the prior,
            from 0 (not at all) to 1 (exactly); use 1 if the proportions are known.
        prior: class proportions of the unlabeled nodes; None means uniform.
        rate: step size of the class nodes.
        num_iterations: iterations of assignment and update.
        transductive: queries count as unlabeled nodes. Otherwise each query is classified alone,
            by class nodes that do not depend on any query.

    Returns:
        A `GraphMethod` with logits `[Q, way]`. It needs no training.

    Raises:
        InvalidInputError: if `prior_weight` is outside 0 to 1, `outlier_threshold`,
            `inv_temperature` or `n_components` is not positive, the prior is not positive, or
            `center` has the wrong length.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 1, -1, -1, -1])  # one support per class, two unlabeled
        >>> is_query = torch.arange(5) == 4
        >>> episode = gf.Episode.single(torch.randn(5, 8), labels, is_query, way=2)
        >>> model = gf.create("pool_prototypes", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([1, 2])

    Source:
        Hu, Gripon, Pateux, 2021, Leveraging the Feature Distribution in Transfer-Based Few-Shot
        Learning; the outlier class: Ren, Triantafillou, Ravi, Snell, Swersky, Tenenbaum,
        Larochelle, Zemel, 2018, Meta-Learning for Semi-Supervised Few-Shot Classification; soft
        proportions: Chizat, Peyré, Schmitzer, Vialard, 2018, Scaling Algorithms for Unbalanced
        Optimal Transport Problems.

    Deviations:
        The combination is specific to this library. The default values were chosen on the
        validation classes of CIFAR-FS and the validation utterances of CLINC150.
    """
    _check_arguments(prior_weight, outlier_threshold, inv_temperature, n_components)
    check_prior(prior)
    check_center(center, dim)

    def embed(episode: Episode) -> Graph:
        # In inductive mode queries must not influence the center or the principal axes.
        counted = None if transductive else ~episode.query
        episode = power_normalize(episode, power, center, counted)
        if n_components is not None:
            episode = project_to_principal_axes(episode, n_components, counted)
            episode = episode.encode(lambda x: F.normalize(x, dim=1))
        return class_mean_graph(episode)

    def fit_context(layers: Layers, context: Episode) -> FittedContext:
        update = layers[0]
        assert isinstance(update, PoolPrototypeUpdate)
        transform: FeatureTransform = fit_power_normalizer(context.x, power, center)
        if n_components is not None:
            transform = fit_principal_projection(transform, context.x, n_components)
        fitted = update.fit_context(context.encode(transform))
        predictor = TransformedPredictor(transform, fitted.predictor)
        return dataclasses.replace(fitted, predictor=predictor)

    def create_other_mode() -> GraphMethod:
        return pool_prototypes(
            encoder,
            dim=dim,
            power=power,
            center=center,
            n_components=n_components,
            inv_temperature=inv_temperature,
            outlier_threshold=outlier_threshold,
            prior_weight=prior_weight,
            prior=prior,
            rate=rate,
            num_iterations=num_iterations,
            transductive=not transductive,
        )

    assignment = OutlierAwareAssignment(inv_temperature, outlier_threshold, prior_weight, prior)
    return GraphMethod(
        encoder,
        embed,
        [PoolPrototypeUpdate(assignment, rate, num_iterations, transductive=transductive)],
        class_node_logits,
        transductive=transductive,
        independent_queries=not transductive,
        build_other_mode=create_other_mode,
        fit_context=None if transductive else fit_context,
    )


def _check_arguments(
    prior_weight: float,
    outlier_threshold: float | None,
    inv_temperature: float,
    n_components: int | None,
) -> None:
    if not 0 <= prior_weight <= 1:
        raise InvalidInputError(
            f"prior_weight must be between 0 (prior ignored) and 1 (exact), got {prior_weight}"
        )
    positive = {
        "outlier_threshold": outlier_threshold,
        "inv_temperature": inv_temperature,
        "n_components": n_components,
    }
    for name, value in positive.items():
        if value is not None and not value > 0:
            raise InvalidInputError(f"{name} must be positive, got {value}")
