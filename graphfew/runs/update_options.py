"""`UpdateOptions`: the update rule of a training run, and the training on each task inside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial

import torch

from graphfew.errors import ConfigurationError
from graphfew.runs.options import TRAINING_GROUP, declare, declared_options
from graphfew.training.inner_training import ADAM, InnerOptimizer, InnerTraining
from graphfew.training.outer_rules import foml, leap, reptile
from graphfew.training.update_rules import UpdateRule, query_loss_update

QUERY_LOSS = "query-loss"
RULES: Mapping[str, Callable[[InnerTraining], UpdateRule]] = {
    "reptile": reptile,
    "foml": foml,
    "leap": leap,
}
INNER_OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": ADAM,
    "sgd": torch.optim.SGD,
}


@dataclasses.dataclass(frozen=True)
class UpdateOptions:
    """The update rule of a training run, and the training on each task inside it.

    Attributes:
        update: `query-loss`; or `reptile`, `foml` or `leap`, which train methods that adapt all of
            their network, such as `maml`.
        inner_steps: updates on each task.
        inner_batch: items per update.
        inner_optimizer: `adam` without momentum, or `sgd`.
        inner_lr: its learning rate.
        inner_tail: the last update on a task is on its queries.

    Raises:
        ConfigurationError: if a value is out of range or has no effect.

    Example:
        >>> from graphfew.runs.update_options import UpdateOptions
        >>> UpdateOptions(update="reptile", inner_steps=8).inner_training().steps
        8
    """

    update: str = declare(
        QUERY_LOSS,
        "query-loss; or reptile, foml or leap, for methods that adapt all of their network.",
        TRAINING_GROUP,
        choices=(QUERY_LOSS, *RULES),
        recorded=True,
    )
    inner_steps: int = declare(
        5, "With --update reptile, foml or leap: updates on each task.", TRAINING_GROUP, minimum=1
    )
    inner_batch: int = declare(
        10, "With these: items per update on a task.", TRAINING_GROUP, minimum=1
    )
    inner_optimizer: str = declare(
        "adam",
        "With these: adam (without momentum) or sgd.",
        TRAINING_GROUP,
        choices=tuple(INNER_OPTIMIZERS),
    )
    inner_lr: float = declare(
        1e-3,
        "With these: learning rate of the updates on a task.",
        TRAINING_GROUP,
        exclusive=(0.0, float("inf")),
    )
    inner_tail: bool = declare(
        False, "With these: the last update on a task is on its queries.", TRAINING_GROUP
    )

    def __post_init__(self) -> None:
        options = declared_options(UpdateOptions)
        for name, option in options.items():
            value = getattr(self, name)
            option.check(value)
            # An option without effect is an error: `config.json` would record what never happened.
            if self.update == QUERY_LOSS and value != option.default:
                raise ConfigurationError(
                    f"{name} is {value!r}, which has no effect with update={QUERY_LOSS}; leave it "
                    "out, or choose another update",
                    key=name,
                )
        if self.inner_tail and self.inner_steps < 2:
            raise ConfigurationError(
                f"inner_steps is {self.inner_steps}, but inner_tail needs a step before the last; "
                "use 2 or more",
                key="inner_steps",
            )

    def build_rule(self) -> UpdateRule:
        """Create the update rule."""
        if self.update == QUERY_LOSS:
            return query_loss_update
        return RULES[self.update](self.inner_training())

    def inner_training(self) -> InnerTraining:
        """Create the training on each task."""
        create: InnerOptimizer = partial(INNER_OPTIMIZERS[self.inner_optimizer], lr=self.inner_lr)
        return InnerTraining(self.inner_steps, self.inner_batch, create, self.inner_tail)

    def describe(self) -> dict[str, int | float | str | bool]:
        """Return the options of the training on each task; empty for `query-loss`."""
        if self.update == QUERY_LOSS:
            return {}
        values = dataclasses.asdict(self)
        del values["update"]
        return values
