"""Episodic training, as a generator of steps."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from graphfew._utils.seeding import seeded
from graphfew.backbones import encoder_precision
from graphfew.data.augmented_tasks import find_feedback_source
from graphfew.data.sources import BatchSource
from graphfew.errors import InvalidInputError, NumericalError
from graphfew.nn.pair_mlp import activation_checkpointing
from graphfew.training._batch_norm import synchronized_batch_norm
from graphfew.training.distributed import (
    SINGLE_PROCESS,
    ProcessGroup,
    average_gradients,
    shard_batch,
)
from graphfew.training.precision import supports_bfloat16
from graphfew.training.update_rules import BatchUpdate, Loss, UpdateRule, query_loss_update

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
SchedulerFactory = Callable[[Optimizer], LRScheduler]
# Receives the indices of a whole batch, and the cross-entropy of each of its queries, `[Q]`.
Feedback = Callable[[range, Tensor], None]


@dataclasses.dataclass(frozen=True)
class TrainStep:
    """One training step.

    Attributes:
        index: index of the step, from 0.
        loss: loss before the update.
        accuracy: accuracy on the queries before the update, in `[0, 1]`.

    Example:
        >>> import graphfew as gf
        >>> gf.TrainStep(index=0, loss=1.6, accuracy=0.2).loss
        1.6
    """

    index: int
    loss: float
    accuracy: float


def train(
    model: nn.Module,
    tasks: BatchSource,
    *,
    loss: Loss,
    update: UpdateRule = query_loss_update,
    feedback: Feedback | None = None,
    batch: int = 32,
    steps: int = 10_000,
    optimizer: Optimizer | OptimizerFactory = torch.optim.Adam,
    scheduler: SchedulerFactory | None = None,
    start: int = 0,
    seed: int = 0,
    precision: torch.dtype = torch.float32,
    autocast_layers: bool = False,
    checkpoint_activations: bool = False,
    process_group: ProcessGroup = SINGLE_PROCESS,
) -> Iterator[TrainStep]:
    """Train a model in place, one yielded `TrainStep` per update.

    Logging, validation, early stopping and checkpointing go into your own loop body. Between
    steps the model is as the caller left it: training mode, patched layers and random state are
    entered for each step and left before it is yielded.

    Step `k` uses tasks `k * batch` to `(k + 1) * batch - 1` and randomness seeded by `(seed, k)`,
    so training that continues from a checkpoint (`start`, and the restored `optimizer`) yields
    the same weights as uninterrupted training.

    Args:
        model: a `GraphMethod`, or any module that accepts the batches of `tasks`; trained on the
            device of its weights.
        tasks: source of training batches, such as `Tasks`.
        loss: `(output, target) -> scalar`; the registry has the loss of each method's paper.
        update: how a batch becomes gradients; `graphfew.training` has Reptile and others. All rules
            but the default run in one process and in float32.
        feedback: called after each step with the indices of its tasks and the cross-entropy of each
            query `[Q]` before the update, on the CPU. By default, the `update` of a
            `FeedbackSource`, also inside of `AugmentedTasks`.
        batch: number of tasks per step.
        steps: total number of steps, including those before `start`.
        optimizer: an optimizer, or a factory such as `functools.partial(torch.optim.AdamW,
            lr=1e-3)` that is called with the trainable parameters.
        scheduler: factory of a learning-rate scheduler, such as `functools.partial(
            torch.optim.lr_scheduler.CosineAnnealingLR, T_max=steps)`; it is advanced to `start`,
            then once per step. None leaves the optimizer's learning rate unchanged; you
            may also step your own scheduler in the loop body.
        start: index of the first step.
        seed: seed of dropout and any other randomness in training.
        precision: dtype in which the encoder multiplies during training; bfloat16 is about twice
            as fast with hardware support (`supports_bfloat16`). Weights stay float32. Without
            hardware support, training uses float32, with a warning.
        autocast_layers: apply `precision` to the graph layers too.
        checkpoint_activations: recompute the activations of pairwise MLPs (EGNN, GNN) in the
            backward pass: about half the memory on large episodes, 25 % more time, the same
            results.
        process_group: processes that share each batch in equal parts, each with a model of the
            same weights. Gradients and batch-norm statistics are those of the whole batch. The
            loss is the mean over processes, which equals that of the whole batch if all parts
            have the same number of queries. Dropout differs between processes.

    Returns:
        An iterator of `TrainStep`, lazily evaluated.

    Raises:
        InvalidInputError: immediately, if a number is out of range, the model has no trainable
            parameters, the batch cannot be split evenly over the processes, or `update` does not
            support another option.
        NumericalError: if the loss is not finite; the weights are those before the step.

    Example:
        >>> import graphfew as gf
        >>> tasks = gf.Tasks(gf.data.digits(), way=3, query=2)
        >>> model = gf.create("prototypical", encoder=gf.backbones.conv4(width=4))
        >>> steps = gf.train(model, tasks, loss=gf.node_loss, batch=2, steps=3)
        >>> [step.index for step in steps]
        [0, 1, 2]
    """
    if batch < 1 or steps < 1 or start < 0:
        raise InvalidInputError(
            f"train() got batch={batch}, steps={steps}, start={start}; batch and steps must be at "
            "least 1, start at least 0"
        )
    # This function is not a generator itself, so that invalid arguments raise at the call.
    shard_batch(range(batch), process_group)
    if feedback is None:
        feedback_source = find_feedback_source(tasks)
        feedback = None if feedback_source is None else feedback_source.update
    if update is not query_loss_update:
        _check_rule(precision, process_group, feedback)
    precision = _supported_precision(model, precision)
    if not isinstance(optimizer, Optimizer):
        optimizer = optimizer(trainable_parameters(model))
    advance = None if scheduler is None else _advance_scheduler(scheduler, optimizer, start)
    step = _Step(
        model,
        tasks,
        loss,
        update,
        feedback,
        optimizer,
        batch,
        seed,
        precision,
        autocast_layers,
        checkpoint_activations,
        process_group,
    )
    return _train_steps(step, range(start, steps), advance)


def _supported_precision(model: nn.Module, precision: torch.dtype) -> torch.dtype:
    """Replace bfloat16 by float32, with a warning, where the device would emulate it."""
    parameter = next(model.parameters(), None)
    if precision != torch.bfloat16 or parameter is None or supports_bfloat16(parameter.device):
        return precision
    warnings.warn(
        f"{parameter.device.type} has no bfloat16 hardware support and would be up to 200 times "
        "slower in it; training uses float32",
        RuntimeWarning,
        stacklevel=3,
    )
    return torch.float32


def _check_rule(
    precision: torch.dtype, process_group: ProcessGroup, feedback: Feedback | None
) -> None:
    """Raise InvalidInputError for options that only the default update rule supports."""
    for option, is_unsupported in (
        (f"precision={precision}", precision != torch.float32),
        (f"{process_group.size} processes", process_group.size > 1),
        ("feedback, which reports losses of queries", feedback is not None),
    ):
        if is_unsupported:
            raise InvalidInputError(
                f"an update rule without query loss does not support {option}; leave it out, or "
                "use the default rule"
            )


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that require gradients. Raises InvalidInputError if no parameter does."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise InvalidInputError(
            "the model has no trainable parameters; evaluate it without training, or use an "
            "encoder with trainable parameters"
        )
    return parameters


def _advance_scheduler(
    factory: SchedulerFactory, optimizer: Optimizer, start: int
) -> Callable[[], None]:
    """Create the scheduler at step `start`; return the function that moves it one step on."""
    for group in optimizer.param_groups:
        # An optimizer that was scheduled before has its decayed rate in `lr`.
        group["lr"] = group.get("initial_lr", group["lr"])
    scheduler = factory(optimizer)
    with warnings.catch_warnings():
        # The optimizer has made these steps before it was restored, which PyTorch cannot see.
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        # Recursive schedulers reach the bit-exact rate only through every step in between.
        for _ in range(start):
            scheduler.step()
    return scheduler.step


def _train_steps(
    step: _Step, indices: range, advance: Callable[[], None] | None
) -> Iterator[TrainStep]:
    """Run the steps; the learning rate moves on just before a step, so that callers see its own."""
    for index in indices:
        if advance is not None and index > indices.start:
            advance()
        yield step(index)


@dataclasses.dataclass(frozen=True, eq=False)
class _Step:
    """One step of training, as a function of its index."""

    model: nn.Module
    tasks: BatchSource
    loss: Loss
    update: UpdateRule
    feedback: Feedback | None
    optimizer: Optimizer
    batch: int
    seed: int
    precision: torch.dtype
    autocast_layers: bool
    checkpoint_activations: bool
    process_group: ProcessGroup

    def __call__(self, index: int) -> TrainStep:
        """Compute the loss on the step's tasks and update the weights."""
        group = self.process_group
        # The indices of tasks follow from the step, so a resumed run continues with the same ones.
        batch = range(index * self.batch, (index + 1) * self.batch)
        episode, target = self.tasks.batch(shard_batch(batch, group))
        device = next(self.model.parameters()).device
        target = target.to(device)
        # The rank enters the seed only with several processes: one process keeps its numbers.
        rank_seed = () if group.size == 1 else (group.rank,)
        with self._training_state(), seeded(self.seed, index, *rank_seed):
            with torch.autocast(device.type, self.precision, self._autocast_enabled()):
                update = self.update(self.model, episode.to(device), target, self.loss)
            correct = update.logits.detach().argmax(1) == update.target
            mean_loss, accuracy = _reduce(update.loss.detach(), correct, group)
            # The mean over processes, so that all of them raise at the same step.
            if not math.isfinite(mean_loss):
                raise NumericalError(
                    f"the loss is {mean_loss} at step {index}; lower the learning rate"
                )
            self._backward(update)
        if self.feedback is not None:
            self.feedback(batch, _query_losses(update, group))
        return TrainStep(index, mean_loss, accuracy)

    @contextmanager
    def _training_state(self) -> Iterator[None]:
        """Training mode and temporary patches of the model, for the duration of one step."""
        # `train()` overwrites the mode of every module, such as batch norms that the caller fixed.
        modes = {module: module.training for module in self.model.modules()}
        try:
            self.model.train()
            with ExitStack() as stack:
                stack.enter_context(synchronized_batch_norm(self.model, self.process_group))
                stack.enter_context(encoder_precision(self.model, self.precision))
                if self.checkpoint_activations:
                    stack.enter_context(activation_checkpointing(self.model))
                yield
        finally:
            for module, mode in modes.items():
                module.training = mode

    def _autocast_enabled(self) -> bool:
        """Whether the graph layers run in reduced precision."""
        return self.autocast_layers and self.precision != torch.float32

    def _backward(self, update: BatchUpdate) -> None:
        """Compute gradients, average them over the processes and update the weights."""
        # None rather than zero: optimizers skip unused parameters, including their weight decay.
        self.optimizer.zero_grad(set_to_none=True)
        update.backward()
        parameters = []
        # In the optimizer's order: all processes must reduce the same tensors in the same order.
        for group in self.optimizer.param_groups:
            parameters.extend(group["params"])
        average_gradients(parameters, self.process_group)
        self.optimizer.step()


@torch.no_grad()
def _query_losses(update: BatchUpdate, process_group: ProcessGroup) -> Tensor:
    """Cross-entropy of each query of the whole batch, `[Q]` on the CPU."""
    losses = functional.cross_entropy(update.logits.float(), update.target, reduction="none")
    # Processes hold consecutive parts of the batch, in the order of their ranks.
    parts = process_group.gather(losses.tolist())
    return torch.tensor([value for part in parts for value in part])


def _reduce(loss: Tensor, correct: Tensor, process_group: ProcessGroup) -> tuple[float, float]:
    """Loss and accuracy over all processes, in one all-reduce."""
    # Half precision cannot count queries exactly.
    dtype = torch.promote_types(loss.dtype, torch.float32)
    n_queries = loss.new_tensor(len(correct), dtype=dtype)
    local = torch.stack([loss.to(dtype), correct.to(dtype).sum(), n_queries])
    total_loss, total_correct, total_queries = process_group.sum(local).tolist()
    return total_loss / process_group.size, total_correct / total_queries
