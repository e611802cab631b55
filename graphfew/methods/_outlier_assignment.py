"""Soft assignment of unlabeled nodes to classes or to an outlier class, for `pool_prototypes`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from graphfew.core.dense_batch import (
    DenseBatch,
    class_softmax,
    scale_sharpness,
    weighted_class_means,
)
from graphfew.propagation.affinity import squared_distances
from graphfew.propagation.class_priors import class_prior
from graphfew.propagation.solvers import DENSE_NODES

EPSILON = 1e-9
BIAS_ITERATIONS = 10
# The largest change of a bias, above which the exponentials of a large task are computed again.
# They then neither overflow nor lose a class that matters, in float32 too.
MAX_SHIFT = 30.0


@dataclasses.dataclass(frozen=True, eq=False)
class Assigned:
    """The result of one assignment.

    Attributes:
        class_means: `[G, way, F]` means of supports and assigned nodes.
        bias: `[G, way]` the new class biases.
        log_ratio: `[G, way]` the remaining `log(expected / assigned)`.
    """

    class_means: Tensor
    bias: Tensor
    log_ratio: Tensor


class OutlierAwareAssignment:
    """Soft assignment to classes or to an outlier class, with class proportions near a prior.

    Logits are `-β d²` plus a bias per class, and `-β outlier_threshold` for the outlier class.
    After each softmax, the biases become `prior_weight · (bias + log(expected / assigned))`, where
    the expected mass of a class is the prior's proportion of the mass that all classes received.
    """

    def __init__(
        self,
        inv_temperature: float,
        outlier_threshold: float | None,
        prior_weight: float,
        prior: Sequence[float] | None,
    ) -> None:
        self.inv_temperature = inv_temperature
        self.outlier_threshold = outlier_threshold
        self.prior_weight = prior_weight
        self.prior = prior

    def logits(self, tasks: DenseBatch, classes: Tensor) -> Tensor:
        """Return the class logits without biases, `[G, n, way]`."""
        beta = scale_sharpness(self.inv_temperature, classes.shape[1])
        return -beta * squared_distances(classes, tasks.x).mT

    def outlier_logit(self, way: int) -> float:
        """Return the logit of the outlier class; minus infinity if there is none."""
        if self.outlier_threshold is None:
            return -torch.inf
        return -scale_sharpness(self.inv_temperature, way) * self.outlier_threshold

    def __call__(self, tasks: DenseBatch, classes: Tensor, mask: Tensor, bias: Tensor) -> Assigned:
        """Assign the nodes of a mask to the classes.

        Args:
            tasks: tasks as dense arrays.
            classes: `[G, way, F]` class nodes.
            mask: `[G, n, 1]`, 1 for nodes to assign.
            bias: `[G, way]` initial class biases.

        Returns:
            The class means and biases.
        """
        if tasks.x.shape[1] > DENSE_NODES:
            return self._assign_large(tasks, classes, mask, bias)
        logits = self.logits(tasks, classes)
        groups, nodes, way = logits.shape
        outlier_logit = logits.new_full((groups, nodes, 1), self.outlier_logit(way))
        for _ in range(BIAS_ITERATIONS):
            biased = torch.cat([logits + bias[:, None], outlier_logit], dim=2)
            probs = class_softmax(biased)[..., :way] * mask
            bias, log_ratio = self._update_bias(tasks, bias, probs.sum(1))
        class_means = weighted_class_means(probs + tasks.one_hot, tasks.x)
        return Assigned(class_means, bias, log_ratio)

    def _update_bias(
        self, tasks: DenseBatch, bias: Tensor, assigned: Tensor
    ) -> tuple[Tensor, Tensor]:
        # With prior_weight=1 this is a Sinkhorn iteration; below 1 the marginal is relaxed, as in
        # unbalanced optimal transport.
        expected = assigned.sum(1, keepdim=True) * class_prior(self.prior, tasks.one_hot)
        log_ratio = (expected.clamp_min(EPSILON) / assigned.clamp_min(EPSILON)).log()
        return self.prior_weight * (bias + log_ratio), log_ratio

    def _assign_large(
        self, tasks: DenseBatch, classes: Tensor, mask: Tensor, bias: Tensor
    ) -> Assigned:
        """Compute the same by matrix-vector products, with one exponential per node and class.

        A softmax with other biases is the old one with its columns scaled and its rows normalized
        again, so the iterations only change a factor per class and one per node.
        """
        kernel = self._kernel(tasks, classes, bias)
        for _ in range(BIAS_ITERATIONS):
            if float((bias - kernel.bias).abs().amax()) > MAX_SHIFT:
                kernel = self._kernel(tasks, classes, bias)
            class_factor = (bias - kernel.bias).exp()[:, :, None]
            node_factor = mask / kernel.totals(class_factor)
            assigned = class_factor * torch.bmm(kernel.classes, node_factor)
            bias, log_ratio = self._update_bias(tasks, bias, assigned[..., 0])
        # The probabilities are `class_factor · kernel · node_factor`; only their products with
        # the features are needed.
        sums = class_factor * torch.bmm(kernel.classes, node_factor * tasks.x)
        support_sums = torch.bmm(tasks.one_hot.mT, tasks.x)
        shots = tasks.one_hot.sum(1)[..., None]
        class_means = (sums + support_sums) / (assigned + shots)
        return Assigned(class_means, bias, log_ratio)

    def _kernel(self, tasks: DenseBatch, classes: Tensor, bias: Tensor) -> _Kernel:
        beta = scale_sharpness(self.inv_temperature, classes.shape[1])
        offset = bias - beta * classes.square().sum(2)
        # `-β ‖x - c‖² + b` without `-β ‖x‖²`, which all classes of a node have in common.
        biased = torch.baddbmm(offset[:, :, None], classes, tasks.x.mT, alpha=2 * beta)
        outlier = self.outlier_logit(classes.shape[1]) + beta * tasks.x.square().sum(2)
        largest = torch.maximum(biased.amax(1), outlier)
        # In place: these arrays are large, and new ones cost more than the arithmetic.
        exponentials = biased.sub_(largest[:, None]).exp_()
        return _Kernel(exponentials, (outlier - largest).exp()[..., None], bias)


@dataclasses.dataclass(frozen=True, eq=False)
class _Kernel:
    """Exponentials of the logits of a large task, the largest of each node being 1.

    Attributes:
        classes: `[G, way, n]`.
        outlier: `[G, n, 1]`.
        bias: `[G, way]` the biases that are part of them.
    """

    classes: Tensor
    outlier: Tensor
    bias: Tensor

    def totals(self, class_factor: Tensor) -> Tensor:
        """Return the sums `[G, n, 1]` over classes times their factors and the outlier class."""
        return torch.bmm(self.classes.mT, class_factor) + self.outlier
