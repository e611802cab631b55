"""BOIL: gradient descent on the encoder only, under a fixed classifier."""

from __future__ import annotations

from torch import nn

from graphfew.methods._adaptation import adaptation_method
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.adapted_bodies import WholeNetwork
from graphfew.nn.batch_norm_rules import BatchNormRule, support_moments
from graphfew.nn.classifier_starts import own_rows
from graphfew.nn.method import GraphMethod
from graphfew.nn.task_adaptation import TaskAdaptation


@register_method(paper="Oh et al. 2021", loss=node_loss, fixed_way=True, class_order_matters=True)
def boil(
    encoder: nn.Module,
    *,
    dim: int,
    way: int = 5,
    steps: int = 5,
    step_size: float = 0.1,
    batch_norm: BatchNormRule = support_moments,
    first_order: bool = False,
) -> GraphMethod:
    """Gradient descent on the encoder for each task, with one classifier for all tasks (BOIL).

    An encoder without weights, such as `identity`, is not adapted.

    Formula:
        θ_{s+1} = θ_s - step_size · ∇_θ mean_i CE(W f(x_i; θ_s) + b, y_i),  over the supports
        logit_q = W f(x_q; θ_steps) + b,  W and b learned across tasks

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        way: number of classes of every task, each with a row of the classifier.
        steps: number of inner steps.
        step_size: step size of the encoder's weights.
        batch_norm: moments of the batch norms: `support_moments`, `running_moments` or
            `transductive_moments` of `gf.nn`. The last one makes the model transductive.
        first_order: treat inner gradients as constants (first-order MAML); much less time and
            memory in training, the same predictions.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`. It has no
        fitted form and no `on_features()`: the features depend on the task.

    Raises:
        InvalidInputError: if `steps` is below 1, `way` below 2 or `step_size` is not
            positive; later, if a task has another number of classes or unlabeled nodes.
        NumericalError: later, if the inner loop diverges.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("boil", encoder=gf.backbones.identity(8), way=2)
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Oh, Yoo, Kim, Yun, 2021, BOIL: Towards Representation Change for Few-shot Learning.

    Deviations:
        5 steps by default (one in the published code).
        Batch norms use the moments of the supports under the adapted weights, for supports and
        queries, as Meta-Dataset does (statistics of the query batch in the published code, which is
        transductive: `batch_norm=transductive_moments`).
        The scale and shift of batch norms are not adapted (they are in the published code), and
        dropout is off in training too.
    """
    condition = TaskAdaptation(
        WholeNetwork(batch_norm),
        dim,
        own_rows(dim, way),
        step_size,
        steps,
        adapt_head=False,
        first_order=first_order,
    )
    return adaptation_method("boil", encoder, condition, way=way, batch_norm=batch_norm)
