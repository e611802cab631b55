"""Shared parts of the methods that adapt a linear classifier by gradient descent."""

from __future__ import annotations

from torch import nn

from graphfew.errors import InvalidInputError
from graphfew.methods._checks import require_fraction, require_positive
from graphfew.nn.inner_loop import HeadStart, InnerLoop
from graphfew.nn.linear_classifier import LinearClassifier, fit_linear_classifier
from graphfew.nn.method import Check, GraphMethod
from graphfew.nn.prototypes import class_mean_graph
from graphfew.nn.readout import class_node_logits
from graphfew.nn.step_sizes import RateTable


def inner_loop_layer(
    start: HeadStart,
    step_sizes: RateTable,
    *,
    steps: int,
    test_steps: int | None,
    first_order: bool,
    momentum: float,
    temperature: float = 1.0,
) -> LinearClassifier:
    """Return the layer that adapts a linear classifier, or raise an error for invalid arguments."""
    test_steps = steps if test_steps is None else test_steps
    for name, value in {"steps": steps, "test_steps": test_steps}.items():
        if value < 0:
            raise InvalidInputError(f"{name} must not be negative, got {value}")
    require_fraction(momentum=momentum)
    require_positive(temperature=temperature)
    # Before any task is adapted: training could take hours.
    step_sizes.check_steps(max(steps, test_steps))
    loop = InnerLoop(
        start,
        step_sizes,
        steps,
        test_steps=test_steps,
        first_order=first_order,
        momentum=momentum,
        temperature=temperature,
    )
    return LinearClassifier(loop)


def linear_classifier_method(
    encoder: nn.Module, layer: LinearClassifier, check: Check
) -> GraphMethod:
    """Return the inductive method whose only layer fits a linear classifier."""
    return GraphMethod(
        encoder,
        class_mean_graph,
        [layer],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=check,
        fit_context=fit_linear_classifier,
    )
