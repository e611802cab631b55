"""SimpleShot: nearest centroid of centred features of length 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn
from torch.nn import functional as F

from graphfew.checks import labelled_only
from graphfew.episode import Episode
from graphfew.features import check_centre
from graphfew.graph import Graph
from graphfew.layers import squared_euclidean
from graphfew.methods.prototypical import Compare, task_means
from graphfew.methods.prototypical import embed as with_class_means
from graphfew.model import GraphMethod
from graphfew.readout import from_classes


def simpleshot(encoder: nn.Module, *, dim: int, centre: Sequence[float] | None = None, scale: float = 10.0
               ) -> GraphMethod:
    """Squared Euclidean distance to class means, features centred and brought to length 1. Needs no training.

    Formula:
        x ← (x - centre) / ‖x - centre‖,  c_k = mean_{y_i = k} x_i
        logit_qk = -scale · ‖x_q - c_k‖²

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: the encoder's output width.
        centre: the mean feature of the training classes, `dim` numbers; None takes the mean of each task's supports,
            every class counting alike.
        scale: factor on the negative distance; it sharpens the probabilities and changes no answer.

    Raises:
        ValueError: another number of values in the centre than `dim`, or one that is not finite; later, a task with
            unlabelled nodes.

    Source: Wang, Chao, Weinberger, van der Maaten, 2019, SimpleShot: Revisiting Nearest-Neighbor Classification for
    Few-Shot Learning.

    Deviations: without a centre it is the supports' own mean (theirs is always the training classes').
    """
    check_centre(centre, dim)
    return GraphMethod(encoder, _embed(centre), [Compare(squared_euclidean, scale)], from_classes, transductive=False,
                       independent=True, check=labelled_only("simpleshot"))


def _embed(centre: Sequence[float] | None) -> Callable[[Episode], Graph]:
    def embed(episode: Episode) -> Graph:
        middle = task_means(episode)[episode.task] if centre is None else episode.x.new_tensor(centre)
        return with_class_means(episode.encode(lambda x: F.normalize(x - middle, dim=1)))

    return embed
