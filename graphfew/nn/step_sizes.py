"""Step sizes of the inner loop: one rate, or rates per step, per feature, or both.

A step-size rule is a function from the supports of G tasks and a number of steps to `StepSizes`.
The functions below build one for a method, `(rate, steps, dim, unit) -> RateTable`. The unit
multiplies all rates of a task: with `relative_unit`, a rate means the same for encoders of any
scale; with `absolute_unit`, rates are those of a publication.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graphfew.core.supports import Supports
from graphfew.errors import InvalidInputError
from graphfew.nn.inner_loop import StepSizes
from graphfew.nn.ridge_regression import mean_squared_length

# Units of the rates of the weights and of the bias, `[G]` each.
RateUnit = Callable[[Supports], tuple[Tensor, Tensor]]
# The unit of shorter features is that of this squared length.
UNIT_FLOOR = 1e-12


def relative_unit(supports: Supports) -> tuple[Float[Tensor, " G"], Float[Tensor, " G"]]:
    """Return units with which the logits do not depend on the scale of the features.

    Formula:
        m = mean_i ‖x_i‖²,  unit of the weights: 1 / m,  unit of the bias: 1 / (m + 1)

    A softmax's curvature is at most 1/2, so gradient descent on the mean cross-entropy is stable
    for rates below 2 in these units (below 4 for long features), and above where features differ
    in direction. With one unit for all, the bias would dominate short features.

    Args:
        supports: the supports of G tasks.

    Returns:
        The units of the weights and of the bias, `[G]` each, differentiable with respect to the
        features.

    Example:
        >>> import torch
        >>> from graphfew.core.supports import Supports
        >>> from graphfew.nn.step_sizes import relative_unit
        >>> eye, mask = torch.eye(2)[None], torch.ones(1, 2, dtype=torch.bool)
        >>> relative_unit(Supports(eye, eye, mask, torch.arange(2)[None]))
        (tensor([1.]), tensor([0.5000]))
    """
    squared_length = mean_squared_length(supports)
    return 1 / squared_length.clamp_min(UNIT_FLOOR), 1 / (squared_length + 1)


def absolute_unit(supports: Supports) -> tuple[Float[Tensor, " G"], Float[Tensor, " G"]]:
    """Return 1 for each task, so that rates are those of a publication.

    Args:
        supports: the supports of G tasks.

    Returns:
        The units of the weights and of the bias, `[G]` each.

    Example:
        >>> import torch
        >>> from graphfew.core.supports import Supports
        >>> from graphfew.nn.step_sizes import absolute_unit
        >>> eye, mask = torch.eye(2)[None], torch.ones(1, 2, dtype=torch.bool)
        >>> absolute_unit(Supports(eye, eye, mask, torch.arange(2)[None]))
        (tensor([1.]), tensor([1.]))
    """
    ones = supports.x.new_ones(len(supports.x))
    return ones, ones


class RateTable(nn.Module):
    """Step-size rule with a table of rates, which are learned and may become negative.

    Args:
        rate: initial value of all rates.
        unit: units of the rates of each task, `supports -> ([G], [G])`, weights and bias.
        steps: number of steps with rates of their own; None for one row for all steps.
        dim: number of features with rates of their own; None for one column for all features.
        has_bias_rate: whether the rate of the bias is separate.
        learn: whether the rates are trained.

    Example:
        >>> from graphfew.nn.step_sizes import RateTable, relative_unit
        >>> RateTable(1.0, relative_unit, steps=5, has_bias_rate=True).rate.shape
        torch.Size([5, 1])
    """

    def __init__(
        self,
        rate: float,
        unit: RateUnit,
        *,
        steps: int | None = None,
        dim: int | None = None,
        has_bias_rate: bool = False,
        learn: bool = True,
    ) -> None:
        super().__init__()
        self.unit = unit
        self.steps = steps
        self.is_per_feature = dim is not None
        shape = (steps or 1, dim or 1)
        self.rate = nn.Parameter(torch.full(shape, float(rate)), requires_grad=learn)
        self.bias_rate = None
        if has_bias_rate:
            bias_rate = torch.full(shape[:1], float(rate))
            self.bias_rate = nn.Parameter(bias_rate, requires_grad=learn)

    def check_steps(self, steps: int) -> None:
        """Raise InvalidInputError if there are fewer rates than steps."""
        if self.steps is not None and steps > self.steps:
            raise InvalidInputError(
                f"{steps} inner steps need {steps} step sizes, and {self.steps} are stored; "
                f"use at most {self.steps} steps, or step sizes that do not depend on the step"
            )

    def forward(self, supports: Supports, steps: int) -> StepSizes:
        """Return the step sizes of the first steps of each task."""
        self.check_steps(steps)
        unit, bias_unit = self.unit(supports)
        bias_rate = self.rate[:, 0] if self.bias_rate is None else self.bias_rate
        bias = bias_unit[:, None] * _rows(bias_rate, steps)
        if self.is_per_feature:
            return StepSizes(unit[:, None].expand(-1, steps), self.rate[None, :steps], bias)
        return StepSizes(unit[:, None] * _rows(self.rate[:, 0], steps), bias=bias)


def _rows(rates: Tensor, steps: int) -> Tensor:
    """Return the rates of the first steps; one rate serves any number of steps."""
    return rates.expand(steps) if len(rates) == 1 else rates[:steps]


# From the initial rate, the number of steps in training, the number of features and the unit.
StepSizeFactory = Callable[[float, int, int, RateUnit], RateTable]


def fixed_rate(rate: float, steps: int, dim: int, unit: RateUnit) -> RateTable:
    """Use one rate for all steps, which is not trained.

    Args:
        rate: the rate.
        steps: ignored; any number of steps has this rate.
        dim: ignored.
        unit: unit of the rate of each task.

    Returns:
        The step-size rule.

    Example:
        >>> from graphfew.nn.step_sizes import absolute_unit, fixed_rate
        >>> fixed_rate(0.1, 5, 640, absolute_unit).rate.requires_grad
        False
    """
    del steps, dim
    return RateTable(rate, unit, learn=False)


def learned_rate(rate: float, steps: int, dim: int, unit: RateUnit) -> RateTable:
    """Learn one rate for all steps.

    Args:
        rate: the initial rate.
        steps: ignored; any number of steps has this rate.
        dim: ignored.
        unit: unit of the rate of each task.

    Returns:
        The step-size rule.

    Example:
        >>> from graphfew.nn.step_sizes import absolute_unit, learned_rate
        >>> learned_rate(0.1, 5, 640, absolute_unit).rate.requires_grad
        True
    """
    del steps, dim
    return RateTable(rate, unit)


def rate_per_step(rate: float, steps: int, dim: int, unit: RateUnit) -> RateTable:
    """Learn a rate of the weights and one of the bias for each step (LSLR).

    Args:
        rate: the initial rate.
        steps: number of steps; more steps raise an error.
        dim: ignored.
        unit: unit of the rates of each task.

    Returns:
        The step-size rule.

    Example:
        >>> from graphfew.nn.step_sizes import absolute_unit, rate_per_step
        >>> rate_per_step(0.1, 5, 640, absolute_unit).rate.shape
        torch.Size([5, 1])

    Source:
        Antoniou, Edwards, Storkey, 2019, How to Train Your MAML.

    Deviations:
        none.
    """
    del dim
    return RateTable(rate, unit, steps=steps, has_bias_rate=True)


def rate_per_feature(rate: float, steps: int, dim: int, unit: RateUnit) -> RateTable:
    """Learn a rate of each feature and one of the bias, for all steps (Meta-SGD).

    Args:
        rate: the initial rate.
        steps: ignored; any number of steps has these rates.
        dim: number of features.
        unit: unit of the rates of each task.

    Returns:
        The step-size rule.

    Example:
        >>> from graphfew.nn.step_sizes import absolute_unit, rate_per_feature
        >>> rate_per_feature(0.1, 5, 640, absolute_unit).rate.shape
        torch.Size([1, 640])

    Source:
        Li, Zhou, Chen, Li, 2017, Meta-SGD: Learning to Learn Quickly for Few-Shot Learning.

    Deviations:
        Classes share the rates (one rate per weight in the paper), so that any number of classes
        has rates and their order does not matter. All rates have one initial value (random in the
        paper).
    """
    del steps
    return RateTable(rate, unit, dim=dim, has_bias_rate=True)


def rate_per_step_and_feature(rate: float, steps: int, dim: int, unit: RateUnit) -> RateTable:
    """Learn a rate of each feature and one of the bias for each step.

    Args:
        rate: the initial rate.
        steps: number of steps; more steps raise an error.
        dim: number of features.
        unit: unit of the rates of each task.

    Returns:
        The step-size rule.

    Example:
        >>> from graphfew.nn.step_sizes import absolute_unit, rate_per_step_and_feature
        >>> rate_per_step_and_feature(0.1, 5, 640, absolute_unit).rate.shape
        torch.Size([5, 640])
    """
    return RateTable(rate, unit, steps=steps, dim=dim, has_bias_rate=True)


# The names by which specs and configurations store them.
STEP_SIZES: Mapping[str, StepSizeFactory] = MappingProxyType(
    {
        "fixed_rate": fixed_rate,
        "learned_rate": learned_rate,
        "rate_per_step": rate_per_step,
        "rate_per_feature": rate_per_feature,
        "rate_per_step_and_feature": rate_per_step_and_feature,
    }
)
RATE_UNITS: Mapping[str, RateUnit] = MappingProxyType(
    {"relative_unit": relative_unit, "absolute_unit": absolute_unit}
)
