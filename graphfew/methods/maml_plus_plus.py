"""MAML++: MAML with step sizes and batch norms of each step, and a loss after every step."""

from __future__ import annotations

from torch import nn

from graphfew.methods._adaptation import adaptation_method
from graphfew.methods.losses import multi_step_loss
from graphfew.methods.registry import register_method
from graphfew.nn.adapted_bodies import StepBatchNorm, StepRates, WholeNetwork
from graphfew.nn.batch_norm_rules import BatchNormRule, support_moments
from graphfew.nn.classifier_starts import StartFactory, zero_rows
from graphfew.nn.method import GraphMethod
from graphfew.nn.task_adaptation import TaskAdaptation


@register_method(paper="Antoniou et al. 2019", loss=multi_step_loss, works_untrained=True)
def maml_plus_plus(
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
    """MAML with learned step sizes and batch norms for each step, and a loss after every step.

    Evaluation takes exactly the steps of training, because each step has parameters of its own.

    Formula:
        θ_{s+1} = θ_s - α_s ⊙ ∇_θ mean_i CE(f_s(x_i; θ_s), y_i),  α_s one number per weight tensor
        f_s: the network with scale γ_s and shift β_s of each batch norm
        logit_q = f_{steps-1}(x_q; θ_steps)

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        steps: number of inner steps.
        step_size: initial step size of all weights and steps.
        start: the initial classifier: `zero_rows`, `prototype_rows`, `imprinted_rows` or
            `own_rows` of `gf.nn`.
        way: number of classes of every task, which `own_rows` needs; None for any.
        batch_norm: moments of the batch norms: `support_moments`, `running_moments` or
            `transductive_moments` of `gf.nn`. The last one makes the model transductive.
        first_order: treat inner gradients as constants (first-order MAML); much less time and
            memory in training, the same predictions.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `multi_step_loss`. It has no
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
        >>> model = gf.create("maml_plus_plus", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Antoniou, Edwards, Storkey, 2019, How to Train Your MAML.

    Deviations:
        Batch norms use the moments of the supports under the adapted weights, for supports and
        queries, as Meta-Dataset does (statistics of the query batch in the published code, which is
        transductive: `batch_norm=transductive_moments`).
        By default the classifier starts at zero, so that the number and order of the classes do not
        matter; the first step then changes the classifier only. `start=own_rows` is
        the published form, whose predictions depend on the order of the classes.
        The scale and shift of batch norms are not adapted, as in the published code, and dropout is
        off in training too.
        The scale and shift of a step are stored as differences from those of the encoder, so that a
        pretrained encoder keeps its own at the start.
        The weights of the steps in the loss are equal unless the caller anneals them (see
        `multi_step_weights`). The published results average the logits of five checkpoints, and the
        derivative order is second order throughout, as in the released configurations.
    """
    condition = TaskAdaptation(
        WholeNetwork(batch_norm, StepBatchNorm(encoder, steps)),
        dim,
        start(dim, way),
        StepRates(encoder, steps, step_size),
        steps,
        first_order=first_order,
        record_steps=True,
    )
    return adaptation_method("maml_plus_plus", encoder, condition, way=way, batch_norm=batch_norm)
