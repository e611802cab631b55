"""The image distortion model: the class of the support that matches best pixel by pixel."""

from __future__ import annotations

import functools

from torch import nn

from graphfew.errors import InvalidInputError
from graphfew.methods._checks import require_labeled, require_nonnegative
from graphfew.methods.registry import register_method
from graphfew.nn.image_distances import ImageDistances, map_channels
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import support_query_graph
from graphfew.nn.readout import nearest_support_logits
from graphfew.ops.distortion import distortion_table


@register_method(paper="Keysers et al. 2007")
def image_distortion(
    encoder: nn.Module,
    *,
    dim: int,
    channels: int | None = None,
    window: int = 3,
    patch: int = 3,
    penalty: float = 0.003,
    inv_temperature: float = 1.0,
) -> GraphMethod:
    """Class of the nearest support, where each pixel takes its best match in a window.

    Made for `gradient_maps`, on which it needs no training; maps of a convolutional encoder work
    too, such as those of `relation_conv` with 64 channels.

    Formula:
        C(p, u) = Σ_{o in patch} ‖x_q(p + o) - x_i(p + u + o)‖² + penalty ‖u‖²
        d(x_q, x_i) = ½ (Σ_p min_u C(p, u) + Σ_r min_u C(r - u, u)),  |u| ≤ window
        logit_qk = -inv_temperature min_{y_i = k} d(x_q, x_i)

    Args:
        encoder: `[N, ...] -> [N, channels * side * side]`, flattened square maps.
        dim: output width of the encoder.
        channels: channels of the maps; None takes the number that the encoder declares (9 for
            `gradient_maps`), else every feature is an image of one pixel.
        window: largest displacement of a pixel in each direction. With 0 and a patch of 1, the
            distance is the squared Euclidean one.
        patch: side of the patches that are compared, odd.
        penalty: cost of a displacement of one pixel; it grows with the square.
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
        >>> x = torch.eye(16)[[5, 8, 6]].view(3, 1, 4, 4)
        >>> episode = gf.Episode.single(x, labels, labels < 0, way=2)
        >>> model = gf.create("image_distortion", encoder=torch.nn.Flatten(), dim=16, channels=1)
        >>> model(episode).logits.argmax(1)
        tensor([0])

    Source:
        Keysers, Deselaers, Gollan, Ney, 2007, Deformation Models for Image Recognition.

    Deviations:
        The mean of both directions (the paper deforms one image), and a penalty on displacements.
    """
    channels = map_channels(encoder, dim, channels)
    require_nonnegative(window=window, penalty=penalty, inv_temperature=inv_temperature)
    if patch < 1 or patch % 2 == 0:
        raise InvalidInputError(f"patch must be odd and at least 1, got {patch}")
    distances = functools.partial(distortion_table, window=window, patch=patch, penalty=penalty)
    return GraphMethod(
        encoder,
        support_query_graph,
        [ImageDistances(distances, channels, inv_temperature)],
        nearest_support_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("image_distortion"),
    )
