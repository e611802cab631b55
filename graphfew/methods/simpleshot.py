"""SimpleShot: nearest centroid of centerd features of length 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn
from torch.nn import functional as F

from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.methods._checks import require_labeled
from graphfew.methods.registry import register_method
from graphfew.nn.layers import squared_euclidean
from graphfew.nn.method import GraphMethod
from graphfew.nn.prototypes import ScaledMetric, task_class_means
from graphfew.nn.prototypes import class_mean_graph as with_class_means
from graphfew.nn.readout import class_node_logits
from graphfew.propagation.feature_transforms import check_center


@register_method(paper="Wang et al. 2019")
def simpleshot(
    encoder: nn.Module, *, dim: int, center: Sequence[float] | None = None, scale: float = 10.0
) -> GraphMethod:
    """Squared Euclidean distance to class means, features centerd and brought to length 1. Needs no training.

    Formula:
        x ← (x - center) / ‖x - center‖,  c_k = mean_{y_i = k} x_i
        logit_qk = -scale · ‖x_q - c_k‖²

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        center: the mean feature of the training classes, `dim` numbers; None takes the mean of each task's supports,
            every class counting alike.
        scale: factor on the negative distance; it sharpens the probabilities and changes no answer.

    Raises:
        ValueError: another number of values in the center than `dim`, or one that is not finite; later, a task with
            unlabeled nodes.

    Source: Wang, Chao, Weinberger, van der Maaten, 2019, SimpleShot: Revisiting Nearest-Neighbor Classification for
    Few-Shot Learning.

    Deviations: without a center it is the supports' own mean (theirs is always the training classes').
    """
    check_center(center, dim)
    return GraphMethod(
        encoder,
        _embed(center),
        [ScaledMetric(squared_euclidean, scale)],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("simpleshot"),
    )


def _embed(center: Sequence[float] | None) -> Callable[[Episode], Graph]:
    def embed(episode: Episode) -> Graph:
        middle = (
            task_class_means(episode)[episode.task]
            if center is None
            else episode.x.new_tensor(center)
        )
        return with_class_means(episode.encode(lambda x: F.normalize(x - middle, dim=1)))

    return embed
