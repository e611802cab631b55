"""Combination of scores: several encoders and distances vote with weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from graphfew.methods._checks import require_labeled, require_nonnegative
from graphfew.methods.registry import register_method
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import support_query_graph
from graphfew.nn.readout import nearest_support_logits
from graphfew.nn.weighted_scores import ScoreCombination, read_parts


@register_method(paper="Kittler et al. 1998")
def score_combination(
    encoder: nn.Module,
    *,
    dim: int,
    parts: Sequence[Mapping[str, Any]] | None = None,
    scale: float = 3.0,
) -> GraphMethod:
    """Class of the nearest support by a weighted sum of standardized distances.

    The encoder is a `backbones.concat` of several encoders, with a part for each: vectors compared
    by the squared Euclidean distance, or maps compared by the image distortion model. Each query is
    standardized on its own over the supports of its task, so that predictions stay inductive. The
    parts are arguments, hence saved with the model. Choose weights on validation tasks.

    Formula:
        z_p(q, i) = (d_p(q, i) - mean_j d_p(q, j)) / std_j d_p(q, j)
        logit_qk = -scale min_{y_i = k} Σ_p weight_p z_p(q, i)

    Args:
        encoder: `[N, ...] -> [N, F]`.
        dim: output width of the encoder.
        parts: fields of `graphfew.nn.weighted_scores.ScorePart` for each encoder, such as
            `{"width": 64, "weight": 2.0}` and `{"width": 7056, "channels": 9}`; None compares all
            features as one vector.
        scale: factor on the sum; it changes confidence, not classes.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`. It needs no training.

    Raises:
        InvalidInputError: the parts do not fit the encoder, or a number is out of range; later, if
            a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 1, -1])
        >>> x = torch.tensor([[0.0, 5.0], [1.0, 0.0], [0.2, 1.0]])
        >>> episode = gf.Episode.single(x, labels, labels < 0, way=2)
        >>> parts = [{"width": 1, "weight": 1.0}, {"width": 1, "weight": 2.0}]
        >>> model = gf.create("score_combination", encoder=gf.backbones.identity(2), parts=parts)
        >>> model(episode).logits.argmax(1)
        tensor([1])

    Source:
        Kittler, Hatef, Duin, Matas, 1998, On Combining Classifiers (sum rule).

    Deviations:
        The sum is of standardized distances, not of posterior probabilities, and is weighted.
    """
    require_nonnegative(scale=scale)
    read = read_parts([{"width": dim}] if parts is None else parts, dim)
    return GraphMethod(
        encoder,
        support_query_graph,
        [ScoreCombination(read, scale)],
        nearest_support_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("score_combination"),
    )
