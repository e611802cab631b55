"""Update rules without query loss: Reptile, FOML and Leap, for `train(update=...)`.

They train the initial network of methods that adapt all of it to a task, such as `maml`. Each task
is trained on by ordinary steps; a rule turns the path of its parameters into a gradient of the
initial ones. The optimizer of `train` then makes the step: with `torch.optim.SGD(lr=ε)` it moves
the weights by ε times the mean displacement of the tasks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphfew._utils.patching import patched_attributes
from graphfew.core.episode import Episode
from graphfew.errors import InvalidInputError
from graphfew.nn.method import GraphMethod, MethodOutput, device_of
from graphfew.training.inner_training import (
    InitialNetwork,
    InnerStep,
    InnerTraining,
    LabeledTask,
    split_tasks,
    train_on_task,
)
from graphfew.training.update_rules import BatchUpdate, Loss, UpdateRule

Tensors = Sequence[Tensor]
# From the steps of a task, and its parameters after the last one, to the gradient of its initial
# parameters.
PathGradient = Callable[[Sequence[InnerStep], Tensors], Tensors]


def reptile(inner: InnerTraining | None = None) -> UpdateRule:
    """Move the initial network towards the networks that are trained on each task (Reptile).

    Formula:
        gradient = mean_tasks (θ - θ_k),  θ_k the parameters after k steps on the supports of a task
        θ ← θ - ε · gradient, with `torch.optim.SGD(lr=ε)` in `train`

    Args:
        inner: training on a task; None for the default one. With `tail`, its last step is on the
            queries.

    Returns:
        An update rule for `train`, for methods that adapt all of their network, such as `maml`.
        `TrainStep` has the mean loss and accuracy of the inner batches, before their updates.

    Raises:
        InvalidInputError: in training, if the method has another form, or adapts nothing that can be
            trained, such as the context of `cavia`, which starts from zeros.
        NumericalError: in training, if the training on a task diverges.

    Example:
        >>> import graphfew as gf
        >>> rule = gf.training.reptile(gf.training.InnerTraining(steps=3))
        >>> callable(rule)
        True

    Source:
        Nichol, Achiam, Schulman, 2018, On First-Order Meta-Learning Algorithms.

    Deviations:
        Each task has a new optimizer of the inner steps; in the published code, the second moments
        of Adam run on from task to task. Only the parameters that the method adapts are
        trained. If all classes start from one row, gradients of its copies cancel with SGD; use
        own rows, as the published code does. ε does not decay by itself; pass a scheduler.
    """
    return _path_rule(inner or InnerTraining(), _displacement)


def foml(inner: InnerTraining | None = None) -> UpdateRule:
    """Update the initial network by the last update on each task (first-order MAML, FOML).

    Formula:
        gradient = mean_tasks (θ_{k-1} - θ_k),  θ_k the parameters after k steps on a task

    Args:
        inner: training on a task; None for 5 steps of which the last one is on the queries
            (`tail`). Without `tail`, the last step is on another batch of supports.

    Returns:
        An update rule for `train`; see `reptile`.

    Raises:
        InvalidInputError: in training, if the method has another form.
        NumericalError: in training, if the training on a task diverges.

    Example:
        >>> import graphfew as gf
        >>> rule = gf.training.foml(gf.training.InnerTraining(steps=3, tail=True))
        >>> callable(rule)
        True

    Source:
        Nichol, Achiam, Schulman, 2018, On First-Order Meta-Learning Algorithms (the variant of
        their code that applies the update of the last minibatch).

    Deviations:
        As of `reptile`.
    """
    return _path_rule(inner or InnerTraining(tail=True), _last_update)


def leap(inner: InnerTraining | None = None) -> UpdateRule:
    """Shorten the paths of training on the tasks, on the surface of their losses (Leap).

    Formula:
        Δθ_i = θ_{i+1} - θ_i,  Δf_i = -|f_{i+1} - f_i|,  f_i the loss of batch i at θ_i
        gradient = mean_tasks Σ_i -(Δθ_i + Δf_i ∇f_i) / √(‖Δθ_i‖² + Δf_i²)

    Args:
        inner: training on a task; None for 5 steps of SGD with a step size of 0.1 on batches of 20.

    Returns:
        An update rule for `train`; see `reptile`. One more batch than steps is drawn, for the loss
        at the end of the path.

    Raises:
        InvalidInputError: in training, if the method has another form.
        NumericalError: in training, if the training on a task diverges.

    Example:
        >>> import graphfew as gf
        >>> rule = gf.training.leap(gf.training.InnerTraining(steps=3))
        >>> callable(rule)
        True

    Source:
        Flennerhag, Moreno, Lawrence, Damianou, 2019, Transferring Knowledge across Learning
        Processes.

    Deviations:
        Only the length of the path, not its energy. Increases of the loss always count as decreases
        (the stabilizer). The last step of a path counts, too; the published code leaves it out. The
        paths are as short as few-shot tasks allow; the paper has 100 steps.
    """
    if inner is None:
        inner = InnerTraining(batch=20, optimizer=_sgd)
    return _path_rule(inner, _length_gradient, extra_batch=True)


def _sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def _displacement(steps: Sequence[InnerStep], end: Tensors) -> Tensors:
    """The initial minus the final parameters."""
    return [start - final for start, final in zip(steps[0].parameters, end, strict=True)]


def _last_update(steps: Sequence[InnerStep], end: Tensors) -> Tensors:
    """The parameters before minus those after the last update."""
    return [before - after for before, after in zip(steps[-1].parameters, end, strict=True)]


def _length_gradient(steps: Sequence[InnerStep], end: Tensors) -> Tensors:
    """The gradient of the length of the path, of which only the starts of its pieces vary."""
    del end  # the extra batch is at the end of the path
    total = [torch.zeros_like(value) for value in steps[0].parameters]
    for step, following in itertools.pairwise(steps):
        change = -(following.loss - step.loss).abs()
        moves = [
            after - before
            for before, after in zip(step.parameters, following.parameters, strict=True)
        ]
        squared = change.square() + torch.stack([move.square().sum() for move in moves]).sum()
        # A step that changes nothing has no direction.
        length = squared.sqrt().clamp_min(torch.finfo(squared.dtype).tiny)
        for part, move, gradient in zip(total, moves, step.gradients, strict=True):
            part -= (move + change * gradient) / length
    return total


def _path_rule(
    inner: InnerTraining, path_gradient: PathGradient, *, extra_batch: bool = False
) -> UpdateRule:
    """The update rule with the mean gradient of all tasks, propagated to the weights."""

    def update(model: nn.Module, batch: Any, target: Tensor, loss: Loss) -> BatchUpdate:
        method, network = initial_network(model)
        method.check(batch)
        weights = [parameter for parameter in method.parameters() if parameter.requires_grad]
        totals: list[Tensor | None] = [None] * len(weights)
        losses: list[Tensor] = []
        logits: list[Tensor] = []
        labels: list[Tensor] = []
        # Without dropout, whose masks would differ from step to step.
        with patched_attributes(list(method.modules()), "training", False):
            tasks = split_tasks(batch.drop_unlabeled(), target)
            for task in tasks:
                start, path, end = _train(network, method, task, inner, loss, extra_batch)
                gradients = [gradient / len(tasks) for gradient in path_gradient(path, end)]
                _accumulate(totals, start, gradients, weights)
                # Not the steps: they hold copies of all parameters and gradients.
                losses += [step.loss for step in path]
                logits += [step.logits for step in path]
                labels += [step.label for step in path]

        def backward() -> None:
            for weight, total in zip(weights, totals, strict=True):
                # Zero rather than None for weights that no task changes: optimizers keep a state
                # for all weights, and checkpoints check that.
                weight.grad = torch.zeros_like(weight) if total is None else total

        return BatchUpdate(
            loss=torch.stack(losses).mean(),
            logits=_pad(logits),
            target=torch.cat(labels),
            backward=backward,
        )

    return update


def _train(
    network: InitialNetwork,
    method: GraphMethod,
    task: LabeledTask,
    inner: InnerTraining,
    loss: Loss,
    extra_batch: bool,
) -> tuple[Tensors, list[InnerStep], Tensors]:
    """Train on one task: its initial parameters with history, the steps and the final parameters."""
    initial = _initial_parameters(network, method, task.supports)
    parameters = {name: value.detach().clone().requires_grad_() for name, value in initial.items()}
    path = list(
        train_on_task(
            network, method.encoder, task, parameters, inner, loss, extra_batch=extra_batch
        )
    )
    end = [value.detach() for value in parameters.values()]
    return list(initial.values()), path, end


def _initial_parameters(
    network: InitialNetwork, method: GraphMethod, supports: Episode
) -> Mapping[str, Tensor]:
    """Return the parameters before training. Raises InvalidInputError if none can be learned."""
    initial = network.initial_parameters(method.encoder, supports)
    if any(value.requires_grad for value in initial.values()):
        return initial
    raise InvalidInputError(
        "an update rule without query loss trains the parameters that the method adapts, but "
        f"none of them is trainable ({', '.join(initial) or 'there are none'}); train the method by "
        "the loss on queries, or give it an encoder with trainable weights or start=own_rows"
    )


def _accumulate(
    totals: list[Tensor | None], start: Tensors, gradients: Tensors, weights: Tensors
) -> None:
    """Add the gradient of a task's initial parameters to those of the weights behind them."""
    # Without weights behind them are frozen parameters, and classifiers that start from zeros.
    learned = [position for position, value in enumerate(start) if value.requires_grad]
    parts = torch.autograd.grad(
        [start[position] for position in learned],
        weights,
        [gradients[position] for position in learned],
        allow_unused=True,
    )
    for position, part in enumerate(parts):
        total = totals[position]
        if part is not None:
            totals[position] = part if total is None else total + part


def initial_network(model: nn.Module) -> tuple[GraphMethod, InitialNetwork]:
    """Return a method and its initial network. Raises InvalidInputError if it has none."""
    if isinstance(model, GraphMethod) and isinstance(model.condition, InitialNetwork):
        return model, model.condition
    spec = getattr(model, "spec", None)
    name = type(model).__name__ if spec is None else spec.name
    raise InvalidInputError(
        f"an update rule without query loss trains the initial network of a method that adapts all "
        f"of it, such as maml, but got {name}; train it by the loss on queries"
    )


def check_initial_network(model: nn.Module, batch: Episode, loss: Loss) -> None:
    """Check before training that an update rule without query loss can train a model.

    Args:
        model: the model.
        batch: tasks like those of training.
        loss: the loss of a batch of labeled items.

    Raises:
        InvalidInputError: the model has no initial network, nothing of it can be trained, or the
            loss needs graphs.
    """
    method, network = initial_network(model)
    supports = batch.take([0]).drop_unlabeled().drop_queries().to(device_of(model))
    with patched_attributes(list(method.modules()), "training", False):
        _initial_parameters(network, method, supports)
    loss(MethodOutput(torch.zeros(1, 2), ()), torch.zeros(1, dtype=torch.int64))


def _pad(logits: Sequence[Tensor]) -> Tensor:
    """`[n, max way]` logits of tasks of any way; `-inf` for classes that a task lacks."""
    way = max(part.shape[1] for part in logits)
    padded = [functional.pad(part, (0, way - part.shape[1]), value=-torch.inf) for part in logits]
    return torch.cat(padded)
