"""Meta-learner LSTM: a head whose parameters are the cell states of an LSTM that reads gradients."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.supports import Supports
from graphfew.errors import InvalidInputError
from graphfew.methods._checks import require_labeled
from graphfew.methods._linear_classifier import linear_classifier_method
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.gradient_features import log_and_sign
from graphfew.nn.linear_classifier import LinearClassifier, LinearWeights
from graphfew.nn.lstm_step import lstm_step
from graphfew.nn.method import GraphMethod

# Gradients below e⁻¹⁰ count as small, as in the paper.
LOG_RANGE = 10.0


class MetaLearnerLSTM(nn.Module):
    """Linear classifiers whose parameters are the cell states of an LSTM that all of them share."""

    def __init__(self, dim: int, steps: int, hidden: int) -> None:
        super().__init__()
        self.steps = steps
        self.lstm = nn.LSTMCell(4, hidden)
        # Both gates read the LSTM's output, the parameter, and their own last value.
        self.forget_gate = nn.Linear(hidden + 2, 1)
        self.input_gate = nn.Linear(hidden + 2, 1)
        self.start = nn.Parameter(torch.empty(dim + 1).uniform_(-(dim**-0.5), dim**-0.5))
        for weight in [*self.lstm.parameters(), self.forget_gate.weight, self.input_gate.weight]:
            nn.init.uniform_(weight, -0.01, 0.01)
        # At the start: keep the parameters, and take small steps down the gradient.
        nn.init.uniform_(self.forget_gate.bias, 4, 5)
        nn.init.uniform_(self.input_gate.bias, -5, -4)

    def forward(self, supports: Supports) -> LinearWeights:
        """Return the adapted classifiers."""
        groups, _, way = supports.one_hot.shape
        head = self.start.expand(groups, way, -1)
        # One row per parameter node.
        n_parameters = head.numel()
        state = head.new_zeros(2, n_parameters, self.lstm.hidden_size)
        hidden, cell = state[0], state[1]
        forget = input_ = head.new_zeros(n_parameters, 1)
        parameters = head.reshape(-1, 1)
        for _ in range(self.steps):
            loss, gradient = loss_and_gradient(supports, parameters.view(head.shape))
            loss_features = log_and_sign(loss, LOG_RANGE)[:, None, None]
            gradient_features = log_and_sign(gradient, LOG_RANGE)
            features = torch.cat(
                [loss_features.expand_as(gradient_features), gradient_features], dim=3
            )
            hidden, cell = lstm_step(self.lstm, features.view(n_parameters, 4), (hidden, cell))
            # The gates are fed back before the sigmoid.
            forget = self.forget_gate(torch.cat([hidden, parameters, forget], dim=1))
            input_ = self.input_gate(torch.cat([hidden, parameters, input_], dim=1))
            step = input_.sigmoid() * gradient.reshape(-1, 1)
            parameters = forget.sigmoid() * parameters - step
        head = parameters.view(head.shape)
        return LinearWeights(head[:, :, :-1], head[:, :, -1])


def loss_and_gradient(
    supports: Supports, head: Float[Tensor, "G way F1"]
) -> tuple[Float[Tensor, " G"], Float[Tensor, "G way F1"]]:
    """Return the mean loss of each task's supports, and its gradient divided by their number.

    Both are constants. The gradient is written out, so that no gradient mode is needed. `head` has
    the biases in its last column.
    """
    # The feature 1 is that of the bias.
    x, head = F.pad(supports.x.detach(), (0, 1), value=1.0), head.detach()
    n_supports = supports.counts
    log_probs = torch.bmm(x, head.mT).log_softmax(dim=2)
    loss = -(log_probs * supports.one_hot).sum((1, 2)) / n_supports
    residual = (log_probs.exp() - supports.one_hot) * supports.mask[:, :, None]
    # The mean has one division; the published code has a second one.
    gradient = torch.bmm(residual.mT, x) / n_supports[:, None, None].square()
    return loss, gradient


@register_method(paper="Ravi, Larochelle 2017", loss=node_loss)
def meta_lstm(encoder: nn.Module, *, dim: int, steps: int = 12, hidden: int = 20) -> GraphMethod:
    """A linear head on the supports whose optimizer is an LSTM: its cell state is the parameters.

    Every parameter of the head is a node with a recurrent state of its own and an LSTM that all
    share; the message it receives in every step is the gradient of the supports' loss. The
    gradients are written out, so the method works without a gradient mode.

    Formula:
        L = mean_i CE(W [x_i; 1], y_i) over the supports,  g = ∇_W L / n,  n their number
        h = LSTM([s(L), s(g)]),  s(u) = (max(log|u| / 10, -1), clamp(e¹⁰ u, -1, 1))
        f̃ ← w_F [h, θ, f̃] + b_F,  ĩ ← w_I [h, θ, ĩ] + b_I,  both 0 at first
        θ ← σ(f̃) θ - σ(ĩ) g,  steps times from a learned θ, the same for all classes
        logit_q = W [x_q; 1]

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        steps: updates of the head, on all supports each; 12 in the paper for 1 shot, and 8 for
            5 shots in its code.
        hidden: units of the LSTM. The state of a task has `2 · hidden · way · (dim + 1)` numbers,
            which training keeps for every step.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`. Its class nodes
        are the rows of the head.

    Raises:
        InvalidInputError: if `steps` or `hidden` is below 1; later, if a task has unlabeled
            nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("meta_lstm", encoder=gf.backbones.identity(8), steps=3)
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Ravi, Larochelle, 2017, Optimization as a Model for Few-Shot Learning.

    Deviations:
        Only a head on the encoder's features is adapted (a whole convolutional network in the
        paper); the encoder learns from the loss of the queries alone, because loss and gradient of
        the supports are constants, as in the paper. All classes start from the same learned row (a
        row each in the paper), so that any way is possible and the class order does not matter. As
        in the published code, the gradient of the mean loss is divided by the number of supports
        once more (the paper has the gradient itself). Not copied: batch norm with the statistics of
        the queries in meta-training, which the code replaces by running statistics at test; and the
        forget gate's bias up to 6 of a later port (5 in the original, which is used here).
    """
    if min(steps, hidden) < 1:
        raise InvalidInputError(f"steps and hidden must be at least 1, got {steps} and {hidden}")
    layer = LinearClassifier(MetaLearnerLSTM(dim, steps, hidden))
    return linear_classifier_method(encoder, layer, require_labeled("meta_lstm"))
