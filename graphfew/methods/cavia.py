"""CAVIA: gradient descent on a context vector that modulates the encoder."""

from __future__ import annotations

from torch import nn

from graphfew.methods._adaptation import adaptation_method
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.adapted_bodies import ContextParameters
from graphfew.nn.batch_norm_rules import BatchNormRule, support_moments
from graphfew.nn.classifier_starts import own_rows
from graphfew.nn.method import GraphMethod
from graphfew.nn.task_adaptation import TaskAdaptation


@register_method(
    paper="Zintgraf et al. 2019", loss=node_loss, fixed_way=True, class_order_matters=True
)
def cavia(
    encoder: nn.Module,
    *,
    dim: int,
    way: int = 5,
    context_dim: int = 100,
    steps: int = 2,
    step_size: float = 1.0,
    batch_norm: BatchNormRule = support_moments,
    first_order: bool = False,
) -> GraphMethod:
    """Gradient descent on a context vector per task, with encoder and classifier shared by all tasks.

    All tasks of a batch are adapted at once, whatever their sizes, with one call of the encoder per
    step.

    Formula:
        h ← γ(φ_t) ⊙ h + β(φ_t)  after every batch norm, for the items of task t; γ and β linear
        φ_t ← φ_t - step_size · ∇ mean_i CE(W x_i + b, y_i),  over the supports of task t,  from 0
        logit_q = W x_q + b,  W and b learned across tasks

    Args:
        encoder: `[N, ...] -> [N, dim]`; its output is scaled and shifted if it has no batch norm.
        dim: output width of the encoder.
        way: number of classes of every task, each with a row of the classifier.
        context_dim: length of the context vector φ.
        steps: number of inner steps.
        step_size: step size of the context vector.
        batch_norm: moments of the batch norms: `support_moments`, `running_moments` or
            `transductive_moments` of `gf.nn`. The last one makes the model transductive.
        first_order: treat inner gradients as constants (first-order MAML); much less time and
            memory in training, the same predictions.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`. It has no
        fitted form and no `on_features()`: the features depend on the task.

    Raises:
        InvalidInputError: if `steps` or `context_dim` is below 1, `way` below 2 or `step_size` is not
            positive; later, if a task has another number of classes or unlabeled nodes.
        NumericalError: later, if the inner loop diverges.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("cavia", encoder=gf.backbones.identity(8), way=2)
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Zintgraf, Shiarlis, Kurin, Hofmann, Whiteson, 2019, Fast Context Adaptation via
        Meta-Learning.

    Deviations:
        The context modulates every batch norm, before the max-pool (in the published code one layer,
        after the max-pool). The linear layers start at a scale of 1 and a shift of 0.
        Batch norms use the moments of the supports under the adapted weights, for supports and
        queries, as Meta-Dataset does (statistics of the query batch in the published code, which is
        transductive: `batch_norm=transductive_moments`).
        Dropout is off in training too.
    """
    condition = TaskAdaptation(
        ContextParameters(encoder, dim, context_dim, batch_norm),
        dim,
        own_rows(dim, way),
        step_size,
        steps,
        adapt_head=False,
        first_order=first_order,
    )
    return adaptation_method("cavia", encoder, condition, way=way, batch_norm=batch_norm)
