"""Batch norm by torch's kernels equals the general form of its rule, in values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import graphfew as gf
from graphfew.nn.batch_norm_rules import BATCH_NORM_RULES, normalized
from graphfew.nn.native_batch_norm import native_batch_norm

N_SUPPORTS, N_QUERIES, CHANNELS = 4, 3, 3


def _episode(n_queries: int, *, queries_first: bool = False) -> gf.Episode:
    y = torch.tensor([0, 1, 1, 0, *[-1] * n_queries])
    y = y.flip(0) if queries_first else y
    x = torch.randn(len(y), CHANNELS, 2, 3, generator=torch.Generator().manual_seed(0)).double()
    if n_queries == 0:
        return gf.Episode.context(x, y, way=2)
    return gf.Episode.single(x, y, y < 0, way=2)


def _norm() -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(CHANNELS).double()
    torch.nn.init.normal_(norm.running_mean)
    torch.nn.init.uniform_(norm.running_var, 0.5, 2)
    return norm


def _native(rule: str, norm: nn.Module, episode: gf.Episode, *tensors: Tensor) -> Tensor | None:
    x, weight, bias = tensors
    return native_batch_norm(BATCH_NORM_RULES[rule], norm, x, episode, weight, bias)


def _general(rule: str, norm: nn.BatchNorm2d, episode: gf.Episode, *tensors: Tensor) -> Tensor:
    x, weight, bias = tensors
    mean, variance = BATCH_NORM_RULES[rule](norm, x, episode)
    return normalized(x, mean, variance, norm.eps, weight, bias)


def _inputs(episode: gf.Episode) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    weight, bias = torch.randn(2, 1, CHANNELS, generator=generator).double()
    return [tensor.clone().requires_grad_() for tensor in (episode.x, weight, bias)]


@pytest.mark.parametrize("n_queries", [0, N_QUERIES])
@pytest.mark.parametrize("rule", list(BATCH_NORM_RULES))
def test_values_and_gradients_equal_those_of_the_general_form(rule: str, n_queries: int) -> None:
    episode, norm = _episode(n_queries), _norm()
    inputs = _inputs(episode)
    results = []
    for form in (_native, _general):
        out = form(rule, norm, episode, *inputs)
        assert out is not None
        gradients = torch.autograd.grad(out.square().sum() + out.pow(3).sum(), inputs)
        results.append((out, *gradients))
    for native, general in zip(*results, strict=True):
        torch.testing.assert_close(native, general)


@pytest.mark.parametrize("rule", list(BATCH_NORM_RULES))
def test_second_derivatives_without_queries(rule: str) -> None:
    episode, norm = _episode(0), _norm()
    inputs = _inputs(episode)
    results = []
    for form in (_native, _general):
        out = form(rule, norm, episode, *inputs)
        assert out is not None
        gradients = torch.autograd.grad(out.pow(3).sum(), inputs, create_graph=True)
        total = torch.stack([gradient.square().sum() for gradient in gradients]).sum()
        results.append(torch.autograd.grad(total, inputs))
    for native, general in zip(*results, strict=True):
        torch.testing.assert_close(native, general)


def test_gradcheck_through_the_moments_of_the_supports() -> None:
    episode, norm = _episode(N_QUERIES), _norm()
    inputs = _inputs(episode)
    assert torch.autograd.gradcheck(
        lambda *tensors: _native("support_moments", norm, episode, *tensors), inputs
    )


def test_second_derivatives_with_queries_raise() -> None:
    episode, norm = _episode(N_QUERIES), _norm()
    inputs = _inputs(episode)
    out = _native("support_moments", norm, episode, *inputs)
    assert out is not None
    (gradient,) = torch.autograd.grad(out.pow(3).sum(), inputs[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_other_cases_are_left_to_the_general_form() -> None:
    episode, norm = _episode(N_QUERIES), _norm()
    x, weight, bias = _inputs(episode)
    for rule in ("support_moments", "transductive_moments"):
        queries_first = _episode(N_QUERIES, queries_first=True)
        assert _native(rule, norm, queries_first, x, weight, bias) is None
        two_tasks = gf.collate([episode, episode])
        assert _native(rule, norm, two_tasks, torch.cat([x, x]), weight, bias) is None
        per_item = (x, weight.expand(len(x), -1), bias.expand(len(x), -1))
        assert _native(rule, norm, episode, *per_item) is None
        assert _native(rule, norm, episode, x, weight.float(), bias.float()) is None
    custom = native_batch_norm(lambda *_: (weight, bias), norm, x, episode, weight, bias)
    assert custom is None
