"""MAML: gradient descent on the whole network, from a learned start."""

from __future__ import annotations

from torch import nn

from graphfew.methods._adaptation import adaptation_method
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.adapted_bodies import WholeNetwork
from graphfew.nn.batch_norm_rules import BatchNormRule, support_moments
from graphfew.nn.classifier_starts import StartFactory, zero_rows
from graphfew.nn.method import GraphMethod
from graphfew.nn.task_adaptation import TaskAdaptation


@register_method(paper="Finn et al. 2017", loss=node_loss)
def maml(
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
    """Gradient descent on encoder and classifier for each task, from a learned start (MAML).

    Training differentiates through the inner steps. `first_order=True` is first-order MAML.

    Formula:
        θ: weights of the encoder and the classifier
        θ_{s+1} = θ_s - step_size · ∇_θ mean_i CE(f(x_i; θ_s), y_i),  over the supports
        logit_q = f(x_q; θ_steps)

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        steps: number of inner steps.
        step_size: step size of all weights.
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
        >>> model = gf.create("maml", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Finn, Abbeel, Levine, 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep
        Networks.

    Deviations:
        The inner loss is a mean over supports (a sum divided by the shots in the published code: its
        step size times the number of classes has the same effect).
        Batch norms use the moments of the supports under the adapted weights, for supports and
        queries, as Meta-Dataset does (statistics of the query batch in the published code, which is
        transductive: `batch_norm=transductive_moments`).
        By default the classifier starts at zero, so that the number and order of the classes do not
        matter; the first step then changes the classifier only. `start=own_rows` is
        the published form, whose predictions depend on the order of the classes.
        The scale and shift of batch norms are not adapted, as in the published code, and dropout is
        off in training too.
        The scale of batch norms, which the published code does not have, is learned.
    """
    condition = TaskAdaptation(
        WholeNetwork(batch_norm),
        dim,
        start(dim, way),
        step_size,
        steps,
        first_order=first_order,
    )
    return adaptation_method("maml", encoder, condition, way=way, batch_norm=batch_norm)
