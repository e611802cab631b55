"""Smooth warps: the class of the support that an elastic deformation brings closest."""

from __future__ import annotations

import functools

from torch import nn

from graphfew.methods._checks import require_labeled, require_nonnegative, require_positive
from graphfew.methods.registry import register_method
from graphfew.nn.image_distances import ImageDistances, map_channels
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import support_query_graph
from graphfew.nn.readout import nearest_support_logits
from graphfew.ops.warp_distance import warp_table


@register_method(paper="Yu et al. 2022")
def smooth_warp(
    encoder: nn.Module,
    *,
    dim: int,
    channels: int | None = None,
    steps: int = 20,
    smoothness: float = 3.0,
    step_size: float = 1.0,
    penalty: float = 0.03,
    inv_temperature: float = 1.0,
) -> GraphMethod:
    """Class of the nearest support under a smooth warp, found by gradient descent for each pair.

    Adjacent pixels move together, unlike in `image_distortion`; it takes many times as long.

    Formula:
        E(v) = Σ_p ‖x_q(p + v(p)) - x_i(p)‖² + penalty Σ_p ‖∇v(p)‖²
        v ← v - η_t s / max_p ‖s(p)‖,  s = Gaussian * ∂E/∂v,  η_t = step_size (1 - t / steps)
        logit_qk = -inv_temperature min_{y_i = k} ½ (min_t E(v_t) + the same with x_q and x_i swapped)

    Args:
        encoder: `[N, ...] -> [N, channels * side * side]`, flattened square maps, such as those of
            `gradient_maps`.
        dim: output width of the encoder.
        channels: channels of the maps; None takes the number that the encoder declares, else every
            feature is an image of one pixel.
        steps: steps of gradient descent; with 0 the distance is the squared Euclidean one.
        smoothness: standard deviation of the Gaussian that smooths each step, in pixels.
        step_size: largest displacement of a pixel in the first step, in pixels.
        penalty: factor on the squared differences of the displacements of adjacent pixels.
        inv_temperature: factor on the distances; it changes confidence, not classes.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`. It needs no training.

    Raises:
        InvalidInputError: an argument is out of range or does not fit `dim`; later, if a task has
            unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 1, -1])
        >>> x = torch.eye(64)[[27, 40, 28]].view(3, 1, 8, 8)
        >>> episode = gf.Episode.single(x, labels, labels < 0, way=2)
        >>> model = gf.create("smooth_warp", encoder=torch.nn.Flatten(), dim=64, channels=1)
        >>> model(episode).logits.argmax(1)
        tensor([0])

    Source:
        Yu, Mineyev, Varshney, Evans, 2022, Learning from One and Only One Shot.

    Deviations:
        The field has one displacement per pixel and is smoothed by a Gaussian (the paper warps a
        grid of cells); steps have a fixed length; there is no multi-resolution schedule.
    """
    channels = map_channels(encoder, dim, channels)
    require_nonnegative(steps=steps, penalty=penalty, inv_temperature=inv_temperature)
    require_positive(smoothness=smoothness, step_size=step_size)
    distances = functools.partial(
        warp_table, steps=steps, smoothness=smoothness, step_size=step_size, penalty=penalty
    )
    return GraphMethod(
        encoder,
        support_query_graph,
        [ImageDistances(distances, channels, inv_temperature)],
        nearest_support_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("smooth_warp"),
    )
