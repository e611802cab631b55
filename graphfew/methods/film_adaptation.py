"""Gradient descent on batch-norm patches and a classifier for each task."""

from __future__ import annotations

from torch import nn

from graphfew.methods._adaptation import adaptation_method
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.adapted_bodies import NormPatches
from graphfew.nn.batch_norm_rules import BatchNormRule, support_moments
from graphfew.nn.classifier_starts import StartFactory, zero_rows
from graphfew.nn.method import GraphMethod
from graphfew.nn.task_adaptation import TaskAdaptation


@register_method(paper="Mudrakarta et al. 2019", loss=node_loss)
def film_adaptation(
    encoder: nn.Module,
    *,
    dim: int,
    steps: int = 5,
    step_size: float = 0.1,
    start: StartFactory = zero_rows,
    way: int | None = None,
    batch_norm: BatchNormRule = support_moments,
    first_order: bool = False,
) -> GraphMethod:
    """Gradient descent on the scale and shift of batch norms and on the classifier for each task.

    All tasks of a batch are adapted at once, whatever their sizes, with one call of the encoder per
    step.

    Formula:
        h ← γ_t ⊙ h + β_t  in every batch norm, for the items of task t
        p_t = (γ_t, β_t, W_t, b_t),  γ and β start from those of the encoder
        p_t ← p_t - step_size · ∇ mean_i CE(W_t x_i + b_t, y_i),  over the supports of task t
        logit_q = W_t x_q + b_t

    Args:
        encoder: `[N, ...] -> [N, dim]`; its output is scaled and shifted if it has no batch norm.
        dim: output width of the encoder.
        steps: number of inner steps.
        step_size: step size of all parameters.
        start: the initial classifier: `zero_rows`, `prototype_rows`, `imprinted_rows` or
            `own_rows` of `gf.nn`.
        way: number of classes of every task, which `own_rows` needs; None for any.
        batch_norm: moments of the batch norms: `support_moments`, `running_moments` or
            `transductive_moments` of `gf.nn`. The last one makes the model transductive.
        first_order: treat inner gradients as constants (first-order MAML); much less time and
            memory in training, the same predictions.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`. It has no
        fitted form and no `on_features()`: the features depend on the task.

    Raises:
        InvalidInputError: if `steps` is below 1 or `step_size` is not positive, or `own_rows` has no
            `way`; later, if a task has unlabeled nodes.
        NumericalError: later, if the inner loop diverges.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("film_adaptation", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Mudrakarta, Sandler, Zhmoginov, Howard, 2019, K For The Price Of 1: Parameter-Efficient
        Multi-task and Transfer Learning.

    Deviations:
        The paper fine-tunes such patches for large tasks; here the encoder is trained across tasks
        for it, as in MAML. Depthwise filters as patches are omitted.
        Batch norms use the moments of the supports under the adapted weights, for supports and
        queries, as Meta-Dataset does.
        By default the classifier starts at zero, so that the number and order of the classes do not
        matter; the first step then changes the classifier only.
        Dropout is off in training too.
    """
    condition = TaskAdaptation(
        NormPatches(dim, batch_norm),
        dim,
        start(dim, way),
        step_size,
        steps,
        first_order=first_order,
    )
    return adaptation_method("film_adaptation", encoder, condition, way=way, batch_norm=batch_norm)
