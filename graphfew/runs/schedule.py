"""`Schedule`: duration, optimizer, learning rate and validation of a training run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    StepLR,
)

from graphfew.errors import ConfigurationError
from graphfew.runs.options import TRAINING_GROUP, VALIDATION_GROUP, declare, declared_options
from graphfew.training.clipping import clip_gradients
from graphfew.training.loop import OptimizerFactory, trainable_parameters

OPTIMIZERS: Mapping[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    "plain-sgd": torch.optim.SGD,
}
FLOAT32 = "float32"
# With this suffix the graph layers run in the precision too, not only the encoder.
ALL_LAYERS = "-whole"
PRECISIONS = (FLOAT32, "bfloat16", f"bfloat16{ALL_LAYERS}")


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Duration, optimizer, learning rate and validation of a training run.

    Attributes:
        steps: number of updates; 0 only validates, for methods without training.
        batch: number of tasks (with `objective="classes"`: items) per step.
        optimizer: `adam`, `adamw`, `sgd` with Nesterov momentum of 0.9, or `plain-sgd` without.
        lr: initial learning rate, after warm-up.
        weight_decay: weight decay of the optimizer.
        halve_every: steps after which the learning rate is halved; None keeps it.
        cosine: decay the learning rate to 0 along half a cosine.
        linear: decay the learning rate to 0 linearly.
        warmup: number of steps of linear warm-up.
        clip_value: largest absolute value of each number of the gradients; None for no limit.
        clip_tensor_norm: then, largest norm of the gradient of each tensor; None for no limit.
        clip_norm: then, largest norm of all gradients together; None for no limit.
        average: decay of an exponential moving average of the weights, which is validated and
            saved instead of the last weights; None for no average.
        precision: precision of matrix products in training: `float32`, `bfloat16` for the
            encoder, `bfloat16-whole` for encoder and layers.
        recompute: recompute activations of pairwise MLPs in the backward pass, to save memory.
        seed: seed of initial weights, training tasks and dropout.
        save_every: steps between saves of the last checkpoint; None for `validate_every`.
        validate_every: steps between validations; the last step is always validated.
        validate_tasks: number of tasks per validation.
        patience: validations without improvement after which training stops; None for never.

    Raises:
        ConfigurationError: if a value is out of range or unknown, or options contradict.

    Example:
        >>> from graphfew.runs import Schedule
        >>> schedule = Schedule(steps=100, lr=0.1, optimizer="sgd", cosine=True)
        >>> optimizer = schedule.build_optimizer(torch.nn.Linear(2, 2))
        >>> type(optimizer).__name__, type(schedule.build_scheduler(optimizer)).__name__
        ('SGD', 'CosineAnnealingLR')
    """

    steps: int = declare(
        10_000, "Number of updates; 0 saves the untrained model.", TRAINING_GROUP, minimum=0
    )
    batch: int = declare(
        32, "Tasks (with --objective classes: items) per step.", TRAINING_GROUP, minimum=1
    )
    optimizer: str = declare(
        "adam",
        "adam, adamw, sgd (with Nesterov momentum) or plain-sgd.",
        TRAINING_GROUP,
        choices=tuple(OPTIMIZERS),
        recorded=True,
    )
    lr: float = declare(
        1e-3, "Initial learning rate.", TRAINING_GROUP, exclusive=(0.0, float("inf"))
    )
    weight_decay: float = declare(0.0, "Weight decay.", TRAINING_GROUP, minimum=0)
    halve_every: int | None = declare(
        None,
        "Steps after which the learning rate is halved.",
        TRAINING_GROUP,
        minimum=1,
        default_text="never",
    )
    cosine: bool = declare(
        False, "Decay the learning rate to 0 along half a cosine.", TRAINING_GROUP, recorded=True
    )
    linear: bool = declare(
        False, "Decay the learning rate to 0 linearly.", TRAINING_GROUP, recorded=True
    )
    warmup: int = declare(0, "Steps of linear warm-up.", TRAINING_GROUP, minimum=0, recorded=True)
    clip_value: float | None = declare(
        None,
        "Clip each number of the gradients to this absolute value.",
        TRAINING_GROUP,
        exclusive=(0.0, float("inf")),
        default_text="no limit",
        recorded=True,
    )
    clip_tensor_norm: float | None = declare(
        None,
        "Clip the gradient of each weight tensor to this norm.",
        TRAINING_GROUP,
        exclusive=(0.0, float("inf")),
        default_text="no limit",
        recorded=True,
    )
    clip_norm: float | None = declare(
        None,
        "Clip all gradients together to this norm.",
        TRAINING_GROUP,
        exclusive=(0.0, float("inf")),
        default_text="no limit",
        recorded=True,
    )
    average: float | None = declare(
        None,
        "Save an exponential moving average of the weights with this decay, such as 0.999.",
        TRAINING_GROUP,
        exclusive=(0.0, 1.0),
        default_text="no average",
        recorded=True,
    )
    precision: str = declare(
        FLOAT32,
        "Precision of training: float32, bfloat16 (encoder), or bfloat16-whole (encoder and "
        "layers).",
        TRAINING_GROUP,
        choices=PRECISIONS,
        recorded=True,
    )
    recompute: bool = declare(
        False,
        "Recompute activations of the pairwise MLPs of EGNN and GNN in the backward pass: about "
        "half the memory on large tasks.",
        TRAINING_GROUP,
    )
    seed: int = declare(
        0, "Seed of weights, training tasks and dropout.", TRAINING_GROUP, minimum=0
    )
    save_every: int | None = declare(
        None,
        "Steps between saves of the last checkpoint.",
        TRAINING_GROUP,
        minimum=1,
        default_text="as --validate-every",
    )
    validate_every: int = declare(500, "Steps between validations.", VALIDATION_GROUP, minimum=1)
    validate_tasks: int = declare(200, "Tasks per validation.", VALIDATION_GROUP, minimum=2)
    patience: int | None = declare(
        None,
        "Stop after this number of validations without improvement.",
        VALIDATION_GROUP,
        minimum=1,
        default_text="never",
        recorded=True,
    )

    def __post_init__(self) -> None:
        for name, option in declared_options(Schedule).items():
            option.check(getattr(self, name))
        decays = {
            "cosine": self.cosine,
            "linear": self.linear,
            "halve_every": self.halve_every is not None,
        }
        chosen = [name for name, is_chosen in decays.items() if is_chosen]
        if len(chosen) > 1:
            raise ConfigurationError(
                f"{' and '.join(chosen)} are set; choose one learning-rate decay", key=chosen[-1]
            )

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        """Create the optimizer of a model's trainable parameters.

        Args:
            model: the module to train.

        Returns:
            The optimizer, which clips gradients if the schedule has a limit.

        Raises:
            InvalidInputError: if the model has no trainable parameters.
        """
        create: OptimizerFactory = partial(
            OPTIMIZERS[self.optimizer], lr=self.lr, weight_decay=self.weight_decay
        )
        limits = {
            "value": self.clip_value,
            "tensor_norm": self.clip_tensor_norm,
            "norm": self.clip_norm,
        }
        if any(limit is not None for limit in limits.values()):
            create = clip_gradients(create, **limits)
        return create(trainable_parameters(model))

    def build_scheduler(self, optimizer: Optimizer) -> LRScheduler:
        """Create the learning-rate scheduler, at step 0.

        Args:
            optimizer: one whose learning rate is `lr`.

        Returns:
            A scheduler of PyTorch.
        """
        schedulers: list[LRScheduler] = []
        # With 0 steps there is nothing to decay over, and CosineAnnealingLR would divide by 0.
        if self.cosine and self.steps:
            schedulers.append(CosineAnnealingLR(optimizer, T_max=self.steps))
        if self.linear and self.steps:
            schedulers.append(
                LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=self.steps)
            )
        if self.halve_every is not None:
            schedulers.append(StepLR(optimizer, step_size=self.halve_every, gamma=0.5))
        if self.warmup:
            # At step k the factor is (k + 1) / (warmup + 1): the first step already moves the
            # weights, and step `warmup` has the full rate.
            start_factor = 1 / (self.warmup + 1)
            schedulers.append(
                LinearLR(optimizer, start_factor=start_factor, total_iters=self.warmup)
            )
        if not schedulers:
            return LambdaLR(optimizer, lambda step: 1.0)
        if len(schedulers) == 1:
            return schedulers[0]
        # Each one is called at every step, so the factors multiply; SequentialLR would run them
        # one after the other.
        return ChainedScheduler(schedulers, optimizer=optimizer)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of `precision`."""
        dtype: torch.dtype = getattr(torch, self.precision.removesuffix(ALL_LAYERS))
        return dtype

    @property
    def autocast_layers(self) -> bool:
        """Whether the graph layers run in `precision` too."""
        return self.precision.endswith(ALL_LAYERS)
