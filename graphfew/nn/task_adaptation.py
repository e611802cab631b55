"""Gradient descent on an encoder and a linear classifier, for each task of an episode.

`TaskAdaptation` is the `condition` of a `GraphMethod`: it adapts a *body* (what of the encoder
depends on the task, see `graphfew.nn.adapted_bodies`) and the classifier to the supports, and
returns the episode with the class scores of the adapted networks as features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew._utils.patching import patched_attributes
from graphfew.core.dense_batch import dense_task
from graphfew.core.episode import Episode
from graphfew.core.supports import gather_supports
from graphfew.errors import InvalidInputError, NumericalError
from graphfew.nn.classifier_starts import ClassifierStart
from graphfew.nn.linear_classifier import LinearWeights
from graphfew.ops.tracing import is_traced

# Names of the parameters of the classifier; those of a body have other names.
HEAD_WEIGHT = "head.weight"
HEAD_BIAS = "head.bias"
HEAD_NAMES = (HEAD_WEIGHT, HEAD_BIAS)

Parameters = Mapping[str, Tensor]
# From the name of a parameter and the step to a factor on its gradient, which broadcasts to it.
StepSize = Callable[[str, int], Tensor | float]


@runtime_checkable
class Body(Protocol):
    """What of an encoder is adapted to a task."""

    # Whether the parameters of all tasks of an episode are adapted in one batch.
    batched: bool

    def start(self, encoder: nn.Module, episode: Episode) -> Parameters:
        """Return the parameters before the first step."""

    def features(
        self, encoder: nn.Module, parameters: Parameters, episode: Episode, step: int
    ) -> Float[Tensor, "N F"]:
        """Encode the items of an episode with adapted parameters, as in the given step."""


class TaskAdaptation(nn.Module):
    """Adapts a body and a linear classifier to each task by gradient descent on its supports.

    The encoder runs in evaluation mode, without dropout, so that predictions in training and
    evaluation are the same. The gradients of all tasks come from one backward pass of the sum of
    their losses: no parameter belongs to two tasks.

    Formula:
        p_{s+1} = p_s - rate_s ⊙ ∇_p mean_i CE(W_s x_i + b_s, y_i),  x_i the features under p_s
        score_jk = (W x_j + b)_k with the parameters after the last step

    Args:
        body: what of the encoder is adapted.
        dim: output width of the encoder.
        head_start: the initial classifier of each task.
        step_size: step size of each parameter and step; a number applies to all of them.
        steps: number of steps.
        adapt_head: whether the classifier is adapted; otherwise it stays the start.
        first_order: treat the gradients as constants in training.
        record_steps: in training, also return the scores after every step but the last.
    """

    def __init__(
        self,
        body: Body,
        dim: int,
        head_start: ClassifierStart,
        step_size: StepSize | float,
        steps: int,
        *,
        adapt_head: bool = True,
        first_order: bool = False,
        record_steps: bool = False,
    ) -> None:
        super().__init__()
        check_steps(steps)
        self.body = body
        self.dim = dim
        self.head_start = head_start
        self.step_size = step_size if callable(step_size) else constant_step_size(step_size)
        self.steps = steps
        self.adapt_head = adapt_head
        self.first_order = first_order
        self.record_steps = record_steps

    def forward(self, encoder: nn.Module, episode: Episode) -> Episode:
        """Return the episode with class scores `[N, max(way)]` of the adapted networks.

        With `record_steps` and gradients the scores are `[N, max(way), steps]`, the last step first.
        """
        if torch.is_inference_mode_enabled():
            raise InvalidInputError(
                "the model adapts its networks by gradients, which torch.inference_mode() disables; "
                "use torch.no_grad()"
            )
        max_way = max(episode.way)
        # In evaluation mode: dropout would make each step's loss another function.
        with patched_attributes(list(encoder.modules()), "training", False):
            if self.body.batched:
                scores = self._adapt(encoder, episode, max_way)
            else:
                tasks = (episode.take([task]) for task in range(episode.n_tasks))
                scores = torch.cat([self._adapt(encoder, task, max_way) for task in tasks])
        return episode.encode(lambda _: scores)

    def initial_parameters(self, encoder: nn.Module, supports: Episode) -> dict[str, Tensor]:
        """Return the parameters that are adapted, before the first step.

        Args:
            encoder: the encoder of the method.
            supports: the supports of one task.

        Returns:
            Parameters by name, with their history from the weights.
        """
        parameters = self._start(encoder, supports)
        return {name: parameters[name] for name in self._adapted_names(parameters)}

    def task_logits(self, encoder: nn.Module, parameters: Parameters, task: Episode) -> Tensor:
        """Compute the logits of the items of one task under given parameters, as in the first step.

        Args:
            encoder: the encoder of the method.
            parameters: values for all of `initial_parameters`.
            task: items of one task.

        Returns:
            `[n, way]`.
        """
        if not self.adapt_head:
            parameters = {**self._start(encoder, task), **parameters}
        (logits,) = self._logits(encoder, parameters, task, 0)
        return logits

    def _adapted_names(self, parameters: Parameters) -> list[str]:
        return [name for name in parameters if self.adapt_head or name not in HEAD_NAMES]

    def _adapt(self, encoder: nn.Module, episode: Episode, max_way: int) -> Tensor:
        """Return the scores of the tasks, `[N, max_way]` or `[N, max_way, steps]`."""
        supports = episode.drop_queries()
        track = torch.is_grad_enabled()
        parameters = self._start(encoder, supports)
        names = self._adapted_names(parameters)
        for name in names:
            parameters[name] = _leaf(parameters[name], track=track)
        recorded: list[Tensor] = []
        for step in range(self.steps):
            # Without anything to adapt, such as a fixed encoder and a fixed classifier.
            if names:
                parameters = self._step(encoder, supports, parameters, names, step)
            if step == self.steps - 1 or (self.record_steps and track):
                logits = self._logits(encoder, parameters, episode, step)
                padded = [F.pad(part, (0, max_way - part.shape[1])) for part in logits]
                recorded.insert(0, torch.cat(padded))
        return recorded[0] if len(recorded) == 1 else torch.stack(recorded, dim=2)

    def _step(
        self,
        encoder: nn.Module,
        supports: Episode,
        parameters: dict[str, Tensor],
        names: list[str],
        step: int,
    ) -> dict[str, Tensor]:
        """Return the parameters with those of the given names after one more step."""
        second_order = torch.is_grad_enabled() and not self.first_order
        with torch.enable_grad():
            logits = self._logits(encoder, parameters, supports, step)
            labels = torch.split(supports.y, list(supports.sizes))
            losses = [F.cross_entropy(a, b) for a, b in zip(logits, labels, strict=True)]
            # The gradient of the sum holds the gradient of every task.
            loss = torch.stack(losses).sum()
            gradients = torch.autograd.grad(
                loss,
                [parameters[name] for name in names],
                create_graph=second_order,
                materialize_grads=True,
            )
            updated = dict(parameters)
            for name, gradient in zip(names, gradients, strict=True):
                updated[name] = parameters[name] - self.step_size(name, step) * gradient
        self._check_loss(loss, names, step)
        return updated

    def _check_loss(self, loss: Tensor, names: list[str], step: int) -> None:
        """Raise an error if the loss of the last step is not finite."""
        # Only once per loop: on a GPU, reading a value waits for all steps before.
        if step < self.steps - 1 or is_traced() or bool(torch.isfinite(loss)):
            return
        rates = []
        for name in names:
            rate = torch.as_tensor(self.step_size(name, step), dtype=torch.float64)
            rates.append(rate.detach().abs().max())
        raise NumericalError(
            f"the inner loop diverged: after {step} steps at rates up to "
            f"{float(max(rates)):.3g} the support loss is {float(loss.detach())}; use a smaller "
            "rate, or normalize the features"
        )

    def _start(self, encoder: nn.Module, supports: Episode) -> dict[str, Tensor]:
        """Return the initial parameters of the body, and the classifiers of all tasks."""
        body = self.body.start(encoder, supports)
        return {**body, **self._start_head(encoder, supports, body)}

    def _start_head(
        self, encoder: nn.Module, supports: Episode, body: Parameters
    ) -> dict[str, Tensor]:
        """Return the initial classifiers of all tasks, their rows one after the other."""
        if self.head_start.uses_features:
            features = self.body.features(encoder, body, supports, 0)
        else:
            dtype = floating_dtype(encoder, supports)
            features = torch.zeros(len(supports.y), self.dim, dtype=dtype, device=supports.y.device)
        encoded = supports.encode(lambda _: features)
        heads = []
        for task in range(supports.n_tasks):
            dense = dense_task(encoded.take([task]))
            heads.append(self.head_start(gather_supports(dense)))
        return {
            HEAD_WEIGHT: torch.cat([head.weight[0] for head in heads]),
            HEAD_BIAS: torch.cat([_bias(head) for head in heads]),
        }

    def _logits(
        self, encoder: nn.Module, parameters: Parameters, episode: Episode, step: int
    ) -> list[Tensor]:
        """Return the logits `[n, way]` of each task."""
        features = self.body.features(encoder, parameters, episode, step)
        weights = torch.split(parameters[HEAD_WEIGHT], list(episode.way))
        biases = torch.split(parameters[HEAD_BIAS], list(episode.way))
        items = torch.split(features, list(episode.sizes))
        return [
            torch.addmm(bias, x, weight.mT)
            for x, weight, bias in zip(items, weights, biases, strict=True)
        ]


def _bias(weights: LinearWeights) -> Tensor:
    """Return the bias `[way]` of one classifier."""
    if weights.bias is None:
        return weights.weight.new_zeros(weights.weight.shape[1])
    return weights.bias[0]


def _leaf(value: Tensor, *, track: bool) -> Tensor:
    """Return a copy that requires gradients, with the history of the value if `track` is set."""
    with torch.enable_grad():
        if track and value.requires_grad:
            # A tensor of its own: the gradient must not reach other uses of the value, such as
            # prototypes that were computed by the same weights.
            return value.clone()
        return value.detach().requires_grad_()


def constant_step_size(rate: float) -> StepSize:
    """Return one step size for all parameters and steps.

    Args:
        rate: the step size.

    Raises:
        InvalidInputError: the rate is not positive and finite.
    """
    check_rate(rate)

    def step_size(name: str, step: int) -> float:
        del name, step
        return rate

    return step_size


def check_rate(rate: float) -> None:
    """Raise InvalidInputError if a step size is not positive and finite."""
    if not 0 < rate < math.inf:
        raise InvalidInputError(f"step_size is {rate}; it must be positive and finite")


def check_steps(steps: int) -> None:
    """Raise InvalidInputError if a number of steps is below 1."""
    if steps < 1:
        raise InvalidInputError(f"steps is {steps}; it must be at least 1")


def floating_dtype(encoder: nn.Module, episode: Episode) -> torch.dtype:
    """Return the dtype of the features: that of floating items, otherwise of the encoder's weights."""
    tensors = [episode.x, *encoder.parameters()]
    dtypes = [tensor.dtype for tensor in tensors if tensor.is_floating_point()]
    return dtypes[0] if dtypes else torch.get_default_dtype()
