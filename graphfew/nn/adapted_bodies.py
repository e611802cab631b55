"""What of an encoder is adapted to a task: all weights, batch-norm patches, or context parameters.

Each class below is a body for `graphfew.nn.task_adaptation.TaskAdaptation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graphfew.core.episode import Episode
from graphfew.errors import InvalidInputError
from graphfew.nn.batch_norm_rules import (
    BatchNormRule,
    batch_norms,
    normalized,
    replaced_batch_norms,
)
from graphfew.nn.method import bounded_features
from graphfew.nn.native_batch_norm import native_batch_norm
from graphfew.nn.task_adaptation import (
    HEAD_BIAS,
    HEAD_WEIGHT,
    check_rate,
    check_steps,
    floating_dtype,
)

# From the position of a batch norm and the batch norm to its scale and shift, `[N, C]` or `[1, C]`.
Affine = Callable[[int, nn.Module], tuple[Tensor, Tensor]]
_PREFIX = "encoder."


class WholeNetwork(nn.Module):
    """All weights of the encoder, except the scale and shift of its batch norms.

    Tasks are adapted one by one, because a convolution with other weights for each task is a
    grouped convolution, which is slow.

    Args:
        batch_norm: moments of the batch norms.
        step_norm: scale and shift of the batch norms at each step; None for those of the encoder.
    """

    batched = False

    def __init__(self, batch_norm: BatchNormRule, step_norm: StepBatchNorm | None = None) -> None:
        super().__init__()
        self.batch_norm = batch_norm
        self.step_norm = step_norm

    def start(self, encoder: nn.Module, episode: Episode) -> dict[str, Tensor]:
        """Return the weights of the encoder."""
        del episode
        return {_PREFIX + name: value for name, value in adapted_weights(encoder).items()}

    def features(
        self, encoder: nn.Module, parameters: Mapping[str, Tensor], episode: Episode, step: int
    ) -> Float[Tensor, "N F"]:
        """Encode the items of one task."""
        weights = {
            name.removeprefix(_PREFIX): value
            for name, value in parameters.items()
            if name.startswith(_PREFIX)
        }

        def encode(x: Tensor) -> Tensor:
            out: Tensor = torch.func.functional_call(encoder, weights, (x,))
            return out

        def affine(index: int, norm: nn.Module) -> tuple[Tensor, Tensor]:
            weight, bias = norm_affine(norm, episode.x)
            if self.step_norm is None:
                return weight, bias
            step_affine: tuple[Tensor, Tensor] = self.step_norm(index, step, weight, bias)
            return step_affine

        return _encode(encoder, encode, episode, self.batch_norm, affine)


class StepBatchNorm(nn.Module):
    """Scale and shift of each batch norm at each step, as differences from those of the encoder.

    Args:
        encoder: its batch norms are replaced.
        steps: number of steps.
    """

    def __init__(self, encoder: nn.Module, steps: int) -> None:
        super().__init__()
        check_steps(steps)
        widths = [norm.num_features for norm in batch_norms(encoder)]
        self.weight = nn.ParameterList(torch.zeros(steps, width) for width in widths)
        self.bias = nn.ParameterList(torch.zeros(steps, width) for width in widths)

    def forward(self, index: int, step: int, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale and shift `[1, C]` of a batch norm at a step."""
        _check_step(step, len(self.weight[index]))
        return weight + self.weight[index][step], bias + self.bias[index][step]


class StepRates(nn.Module):
    """A learned step size for each parameter tensor and step.

    Args:
        encoder: its weights are adapted.
        steps: number of steps.
        rate: initial step size.
    """

    def __init__(self, encoder: nn.Module, steps: int, rate: float) -> None:
        super().__init__()
        check_rate(rate)
        names = [_PREFIX + name for name in adapted_weights(encoder)]
        names += [HEAD_WEIGHT, HEAD_BIAS]
        rates = {_key(name): torch.full((steps,), float(rate)) for name in names}
        self.rates = nn.ParameterDict(rates)

    def forward(self, name: str, step: int) -> Tensor:
        """Return the step size of a parameter at a step."""
        rates: Tensor = self.rates[_key(name)]
        _check_step(step, len(rates))
        return rates[step]


class ParameterRates(nn.Module):
    """A learned step size for each number of the encoder's weights and each input of the classifier.

    The rows of the classifier share their step sizes, so that the order of the classes does not
    matter.

    Args:
        encoder: its weights are adapted.
        dim: output width of the encoder.
        rate: initial step size.
    """

    def __init__(self, encoder: nn.Module, dim: int, rate: float) -> None:
        super().__init__()
        check_rate(rate)
        rates = {
            _key(_PREFIX + name): torch.full_like(value, rate)
            for name, value in adapted_weights(encoder).items()
        }
        rates[_key(HEAD_WEIGHT)] = torch.full((dim,), float(rate))
        rates[_key(HEAD_BIAS)] = torch.full((), float(rate))
        self.rates = nn.ParameterDict(rates)

    def forward(self, name: str, step: int) -> Tensor:
        """Return the step sizes of a parameter."""
        del step
        rates: Tensor = self.rates[_key(name)]
        return rates


class NormPatches(nn.Module):
    """The scale and shift of every batch norm of the encoder, which start from its own.

    If the encoder has no batch norm, its output is scaled and shifted.

    Args:
        dim: output width of the encoder.
        batch_norm: moments of the batch norms.
    """

    batched = True

    def __init__(self, dim: int, batch_norm: BatchNormRule) -> None:
        super().__init__()
        self.dim = dim
        self.batch_norm = batch_norm

    def start(self, encoder: nn.Module, episode: Episode) -> dict[str, Tensor]:
        """Return scales and shifts, `[n_tasks, C]` each."""
        affine = [norm_affine(norm, episode.x) for norm in batch_norms(encoder)]
        if not affine:
            dtype = floating_dtype(encoder, episode)
            ones = torch.ones(1, self.dim, dtype=dtype, device=episode.y.device)
            affine = [(ones, torch.zeros_like(ones))]
        parameters: dict[str, Tensor] = {}
        for index, (scale, shift) in enumerate(affine):
            parameters[f"scale.{index}"] = scale.expand(episode.n_tasks, -1)
            parameters[f"shift.{index}"] = shift.expand(episode.n_tasks, -1)
        return parameters

    def features(
        self, encoder: nn.Module, parameters: Mapping[str, Tensor], episode: Episode, step: int
    ) -> Float[Tensor, "N F"]:
        """Encode the items of all tasks."""
        del step
        task = episode.task

        def affine(index: int, norm: nn.Module) -> tuple[Tensor, Tensor]:
            del norm
            return parameters[f"scale.{index}"][task], parameters[f"shift.{index}"][task]

        return _encode_modulated(encoder, episode, self.batch_norm, affine)


class ContextParameters(nn.Module):
    """A context vector, from which linear layers compute a scale and shift after each batch norm.

    The context starts at 0 and the linear layers at a scale of 1 and a shift of 0, so that the
    encoder is initially unconditioned. If the encoder has no batch norm, its output is scaled and
    shifted.

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        context_dim: length of the context vector.
        batch_norm: moments of the batch norms.
    """

    batched = True

    def __init__(
        self, encoder: nn.Module, dim: int, context_dim: int, batch_norm: BatchNormRule
    ) -> None:
        super().__init__()
        if context_dim < 1:
            raise InvalidInputError(f"context_dim is {context_dim}; it must be at least 1")
        widths = [norm.num_features for norm in batch_norms(encoder)] or [dim]
        self.scale = nn.ModuleList(nn.Linear(context_dim, width) for width in widths)
        self.shift = nn.ModuleList(nn.Linear(context_dim, width) for width in widths)
        for scale, shift in zip(self.scale, self.shift, strict=True):
            nn.init.ones_(cast(nn.Linear, scale).bias)
            nn.init.zeros_(cast(nn.Linear, shift).bias)
        self.context_dim = context_dim
        self.batch_norm = batch_norm

    def start(self, encoder: nn.Module, episode: Episode) -> dict[str, Tensor]:
        """Return contexts of zeros, `[n_tasks, context_dim]`."""
        del encoder
        like = cast(nn.Linear, self.scale[0]).weight
        return {"context": like.new_zeros(episode.n_tasks, self.context_dim)}

    def features(
        self, encoder: nn.Module, parameters: Mapping[str, Tensor], episode: Episode, step: int
    ) -> Float[Tensor, "N F"]:
        """Encode the items of all tasks."""
        del step
        task, context = episode.task, parameters["context"]
        has_norms = bool(batch_norms(encoder))

        def affine(index: int, norm: nn.Module) -> tuple[Tensor, Tensor]:
            scale, shift = self.scale[index](context), self.shift[index](context)
            if has_norms:
                weight, bias = norm_affine(norm, episode.x)
                scale, shift = scale * weight, scale * bias + shift
            return scale[task], shift[task]

        return _encode_modulated(encoder, episode, self.batch_norm, affine)


def adapted_weights(encoder: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters of an encoder by name, except those of its batch norms."""
    of_norms: set[int] = set()
    for norm in batch_norms(encoder):
        of_norms.update(id(parameter) for parameter in norm.parameters(recurse=False))
    return {name: value for name, value in encoder.named_parameters() if id(value) not in of_norms}


def norm_affine(norm: nn.Module, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return scale and shift of a batch norm, `[1, C]`; 1 and 0 if it has none.

    Args:
        norm: the batch norm.
        like: a tensor on its device.
    """
    weight, bias = norm.weight, norm.bias
    if isinstance(weight, Tensor) and isinstance(bias, Tensor):
        return weight[None], bias[None]
    ones = like.new_ones(1, cast(int, norm.num_features))
    return ones, torch.zeros_like(ones)


def _check_step(step: int, n_steps: int) -> None:
    if step >= n_steps:
        raise InvalidInputError(
            f"the model has step sizes or batch norms for {n_steps} inner steps, but step "
            f"{step + 1} was requested; use at most {n_steps} steps"
        )


def _key(name: str) -> str:
    # Names of parameters must not contain dots.
    return name.replace(".", "-")


def _encode_modulated(
    encoder: nn.Module, episode: Episode, batch_norm: BatchNormRule, affine: Affine
) -> Tensor:
    """Encode with the given scale and shift of every batch norm, or of the output."""
    features = _encode(encoder, encoder, episode, batch_norm, affine)
    if batch_norms(encoder):
        return features
    scale, shift = affine(0, encoder)
    return bounded_features(lambda x: scale * x + shift, features)


def _encode(
    encoder: nn.Module,
    encode: Callable[[Tensor], Tensor],
    episode: Episode,
    batch_norm: BatchNormRule,
    affine: Affine,
) -> Tensor:
    """Encode the items of an episode with other moments, scales and shifts of batch norms."""

    def normalize(index: int, norm: nn.Module, x: Tensor) -> Tensor:
        weight, bias = affine(index, norm)
        out = native_batch_norm(batch_norm, norm, x, episode, weight, bias)
        if out is not None:
            return out
        mean, variance = batch_norm(norm, x, episode)
        return normalized(x, mean, variance, cast(float, norm.eps), weight, bias)

    with replaced_batch_norms(batch_norms(encoder), normalize):
        return bounded_features(encode, episode.x)
