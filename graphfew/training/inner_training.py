"""Training of the initial network of a method on the labeled items of one task, step by step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from graphfew.core.episode import Episode, unchecked_episode
from graphfew.errors import InvalidInputError, NumericalError
from graphfew.nn.method import MethodOutput
from graphfew.training.update_rules import Loss

InnerOptimizer = Callable[[Iterable[Tensor]], Optimizer]
# Without momentum, which would carry over from one batch to the next.
ADAM = partial(torch.optim.Adam, lr=1e-3, betas=(0.0, 0.999))


@runtime_checkable
class InitialNetwork(Protocol):
    """The network from which a method adapts to a task; the `condition` of a `GraphMethod`."""

    def initial_parameters(self, encoder: nn.Module, supports: Episode, /) -> Mapping[str, Tensor]:
        """Return the parameters that are adapted, before it, with their history from the weights."""
        ...

    def task_logits(
        self, encoder: nn.Module, parameters: Mapping[str, Tensor], task: Episode, /
    ) -> Tensor:
        """Return the logits `[n, way]` of all items of one task under given parameters."""
        ...


@dataclasses.dataclass(frozen=True)
class InnerTraining:
    """How a network is trained on one task: steps, batches and optimizer.

    Attributes:
        steps: number of updates.
        batch: items per update. Batches cycle through the supports, which are shuffled before each
            pass; a batch may reach from one pass into the next. All supports, if there are not more.
        optimizer: factory of the optimizer, called with the parameters for each task.
        tail: the last update is on the queries with their labels instead of supports.

    Raises:
        InvalidInputError: a number is below 1, or the only step would be the tail.

    Example:
        >>> import functools
        >>> sgd = functools.partial(torch.optim.SGD, lr=0.1)
        >>> InnerTraining(steps=8, optimizer=sgd).batch
        10
    """

    steps: int = 5
    batch: int = 10
    optimizer: InnerOptimizer = ADAM
    tail: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 + self.tail or self.batch < 1:
            raise InvalidInputError(
                f"InnerTraining got steps={self.steps}, batch={self.batch}, tail={self.tail}; it "
                "needs 1 step or more before the tail, and 1 item or more per batch"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class LabeledTask:
    """One task with the labels of its queries.

    Attributes:
        supports: the labeled supports.
        queries: the queries, labeled.
        way: number of classes.
    """

    supports: Episode
    queries: Episode

    @property
    def way(self) -> int:
        """Number of classes."""
        return self.supports.way[0]


@dataclasses.dataclass(frozen=True, eq=False)
class InnerStep:
    """One batch of inner training.

    Attributes:
        parameters: the parameters before the update, copies.
        gradients: the gradient of the loss.
        loss: scalar.
        logits: `[n, way]`, before the update.
        label: `[n]` int64.
    """

    parameters: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]
    loss: Tensor
    logits: Tensor
    label: Tensor


def split_tasks(episode: Episode, target: Tensor) -> list[LabeledTask]:
    """Split an episode into tasks whose queries are labeled.

    Args:
        episode: tasks without unlabeled nodes.
        target: `[Q]` int64, the class of each query.
    """
    tasks = []
    for number, label in enumerate(torch.split(target, list(episode.n_queries))):
        task = episode.take([number])
        supports = task.drop_queries()
        queries = _labeled(task.x[task.query], label, task.way[0])
        tasks.append(LabeledTask(supports, queries))
    return tasks


def train_on_task(
    network: InitialNetwork,
    encoder: nn.Module,
    task: LabeledTask,
    parameters: Mapping[str, Tensor],
    inner: InnerTraining,
    loss: Loss,
    *,
    extra_batch: bool = False,
) -> Iterator[InnerStep]:
    """Train parameters on one task, in place.

    Args:
        network: computes logits.
        encoder: the encoder of the method.
        task: the task.
        parameters: leaf tensors that require gradients; they are updated.
        inner: steps, batches and optimizer.
        loss: `(output, label) -> scalar` of a batch.
        extra_batch: end with the loss of one more batch, without an update.

    Yields:
        Each step before its update, which takes place when the iteration continues.

    Raises:
        NumericalError: a loss or a parameter is not finite.
    """
    tensors = list(parameters.values())
    optimizer = inner.optimizer(tensors)
    batches = _batches(task, inner, extra_batch=extra_batch)
    for number, batch in enumerate(batches):
        logits = network.task_logits(encoder, parameters, batch)
        value = loss(MethodOutput(logits, ()), batch.y)
        gradients = torch.autograd.grad(value, tensors, materialize_grads=True)
        before = tuple(tensor.detach().clone() for tensor in tensors)
        _check_finite(value, [value], optimizer)
        yield InnerStep(before, gradients, value.detach(), logits.detach(), batch.y)
        if number == inner.steps:
            return
        for tensor, gradient in zip(tensors, gradients, strict=True):
            tensor.grad = gradient
        optimizer.step()
        _check_finite(value, tensors, optimizer)


def _check_finite(loss: Tensor, values: Sequence[Tensor], optimizer: Optimizer) -> None:
    """Raise NumericalError if a loss, or a parameter after a step, is not finite."""
    if all(bool(torch.isfinite(value).all()) for value in values):
        return
    rate = optimizer.param_groups[0]["lr"]
    raise NumericalError(
        f"inner training diverged: at a learning rate of {rate:g}, the loss of a batch is "
        f"{float(loss.detach()):g}; use a smaller one in InnerTraining"
    )


def _batches(task: LabeledTask, inner: InnerTraining, *, extra_batch: bool) -> Iterator[Episode]:
    """The batches of all steps: supports, then perhaps the tail, then perhaps one more."""
    n_support_batches = inner.steps + extra_batch - inner.tail
    supports = _support_batches(task, inner.batch, n_support_batches)
    tail_position = inner.steps - 1 if inner.tail else None
    for position in range(inner.steps + extra_batch):
        yield task.queries if position == tail_position else next(supports)


def _support_batches(task: LabeledTask, size: int, n_batches: int) -> Iterator[Episode]:
    supports = task.supports
    n = len(supports.y)
    if size >= n:
        for _ in range(n_batches):
            yield supports
        return
    n_passes = -(-n_batches * size // n)
    # On the CPU, where `train` seeds the step, so that a seed gives the same order everywhere.
    order = torch.cat([torch.randperm(n) for _ in range(n_passes)])
    for position in range(n_batches):
        nodes = order[position * size : (position + 1) * size].to(supports.y.device)
        yield _labeled(supports.x[nodes], supports.y[nodes], task.way)


def _labeled(x: Tensor, y: Tensor, way: int) -> Episode:
    """Labeled items of one task. Some of its classes may have none."""
    fields: dict[str, Any] = {
        "x": x,
        "y": y,
        "query": torch.zeros_like(y, dtype=torch.bool),
        "sizes": (len(y),),
        "way": (way,),
        "n_queries": (0,),
        "n_unlabeled": (0,),
    }
    return unchecked_episode(**fields)
