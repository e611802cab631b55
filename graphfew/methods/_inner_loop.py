"""The layer of the methods that adapt a linear classifier by gradient descent."""

from __future__ import annotations

from graphfew.errors import InvalidInputError
from graphfew.methods._checks import require_fraction, require_positive
from graphfew.nn.inner_loop import HeadStart, InnerLoop
from graphfew.nn.linear_classifier import LinearClassifier
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
