"""Meta networks: weights generated from the gradient of each support, read by attention."""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.dense_batch import weighted_class_means
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.core.support_batch import SupportBatch, support_batch, update_query_stars
from graphfew.errors import InvalidInputError
from graphfew.methods._checks import require_labeled
from graphfew.methods.losses import node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.gradient_features import log_and_sign
from graphfew.nn.layers import Layers
from graphfew.nn.method import GraphMethod
from graphfew.nn.predictors import CHUNK_BYTES, FittedContext
from graphfew.nn.prototypes import support_query_graph
from graphfew.nn.readout import node_logits

# Gradients below e⁻⁷ count as small, as in the published code.
LOG_RANGE = 7.0


@dataclasses.dataclass(frozen=True, eq=False)
class FastWeights:
    """Slow and fast weights of tasks: everything that a query is predicted with.

    Attributes:
        key_weight: slow and fast weights of the key network, `[G, H, F]`.
        key_bias: `[H]`.
        keys: keys of the supports, `[G, S, H]`.
        hidden_weight: slow weights of the base network's hidden layer, `[H, F]`.
        hidden_bias: `[H]`.
        head: slow rows of the base network's head, `[G, way, H]`.
        hidden_fast: fast weights of the hidden layer by support, `[G, S, H, F]`.
        head_fast: fast rows of the head by support, `[G, S, way, H]`.
    """

    key_weight: Float[Tensor, "G H F"]
    key_bias: Float[Tensor, " H"]
    keys: Float[Tensor, "G S H"]
    hidden_weight: Float[Tensor, "H F"]
    hidden_bias: Float[Tensor, " H"]
    head: Float[Tensor, "G way H"]
    hidden_fast: Float[Tensor, "G S H F"]
    head_fast: Float[Tensor, "G S way H"]

    def predict(self, queries: Float[Tensor, "G Q F"]) -> tuple[Tensor, Tensor]:
        """Return logits `[G, Q, way]` and the attention to the supports `[G, Q, S]`."""
        query_keys = torch.baddbmm(self.key_bias, queries, self.key_weight.mT)
        similarity = F.normalize(query_keys, dim=2) @ F.normalize(self.keys, dim=2).mT
        attention = similarity.softmax(dim=2)
        slow = F.linear(queries, self.hidden_weight, self.hidden_bias).relu()
        hidden = slow + _read(self.hidden_fast, queries, attention).relu()
        logits = torch.bmm(hidden, self.head.mT) + _read(self.head_fast, hidden, attention)
        return logits, attention

    def snapshot(self) -> FastWeights:
        """Return a copy that does not change when the model is trained."""
        tensors = (getattr(self, field.name) for field in dataclasses.fields(self))
        return FastWeights(*(tensor.detach().clone() for tensor in tensors))


def _read(weights: Tensor, x: Tensor, attention: Tensor) -> Tensor:
    """Apply to each `x [G, Q, I]` the mean of `weights [G, S, O, I]` under its attention.

    The mean commutes with the product, so that no weights per query are formed.
    """
    groups, n_queries, n_supports = attention.shape
    outputs = torch.bmm(x, weights.flatten(1, 2).mT)
    outputs = outputs.view(groups, n_queries, n_supports, weights.shape[2])
    return torch.einsum("gqs,gqso->gqo", attention, outputs)


def weight_generator(hidden: int) -> nn.Sequential:
    """Build the MLP from the two features of one gradient to one fast weight."""
    output = nn.Linear(hidden, 1)
    # Fast weights start close to 0: their sums over hundreds of features would hide the slow ones.
    nn.init.normal_(output.weight, std=0.01)
    nn.init.zeros_(output.bias)
    return nn.Sequential(
        nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), output
    )


class MetaNetwork(nn.Module):
    """Key and base network with fast weights from the gradients of the supports."""

    def __init__(self, dim: int, width: int, hidden: int) -> None:
        super().__init__()
        self.key = nn.Linear(dim, width)
        self.base = nn.Linear(dim, width)
        self.head_row = nn.Parameter(torch.ones(width))
        self.key_generator = weight_generator(hidden)
        self.base_generator = weight_generator(hidden)

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with logits as nodes, and with attention as edges."""

        def predict(batch: SupportBatch) -> tuple[Tensor, Tensor]:
            return self.fast_weights(batch).predict(batch.queries)

        return update_query_stars(graph, predict)

    def fast_weights(self, batch: SupportBatch) -> FastWeights:
        """Generate the fast weights of tasks from their supports."""
        x, one_hot = batch.supports, batch.one_hot
        embedded = self.key(x)
        # The head of the key network only serves this constant gradient, so it cannot be learned.
        _, key_signal = _residuals(embedded, weighted_class_means(one_hot, embedded), one_hot)
        key_fast = _generate(self.key_generator, _outer(key_signal, x)).mean(1)
        key_weight = self.key.weight + key_fast

        hidden = self.base(x).relu()
        head = self.head_row * weighted_class_means(one_hot, hidden)
        residual, signal = _residuals(hidden, head, one_hot)
        active_signal = signal * (hidden > 0)
        return FastWeights(
            key_weight=key_weight,
            key_bias=self.key.bias,
            keys=torch.baddbmm(self.key.bias, x, key_weight.mT),
            hidden_weight=self.base.weight,
            hidden_bias=self.base.bias,
            head=head,
            hidden_fast=_generate(self.base_generator, _outer(active_signal, x)),
            head_fast=_generate(self.base_generator, _outer(residual, hidden)),
        )


def _residuals(hidden: Tensor, head: Tensor, one_hot: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of each support's cross-entropy by its logits and by its hidden layer.

    They are written out, `P - Y` and `(P - Y) W`, and constants: nothing is differentiated twice,
    and no gradient mode is needed.
    """
    rows = head.detach()
    logits = torch.bmm(hidden.detach(), rows.mT)
    residual = logits.softmax(dim=2) - one_hot
    return residual, torch.bmm(residual, rows)


def _outer(signal: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of each support by a linear layer, `[G, S, O, I]`, a constant."""
    return (signal[..., None] * x[:, :, None]).detach()


def _generate(generator: nn.Sequential, gradient: Tensor) -> Tensor:
    """Map every number of a gradient to a weight by the same MLP."""
    out: Tensor = generator(log_and_sign(gradient, LOG_RANGE)).squeeze(-1)
    return out


@dataclasses.dataclass(frozen=True, eq=False)
class MetaNetworkPredictor:
    """Predictor with the fast weights of one task.

    Attributes:
        weights: slow and fast weights of a batch of one task.
    """

    weights: FastWeights

    def __call__(self, x: Float[Tensor, "Q F"]) -> Float[Tensor, "Q way"]:
        """Return the logits of the queries."""
        outputs_per_query = self.weights.hidden_fast[0, :, :, 0].numel()
        chunk = max(1, CHUNK_BYTES // (outputs_per_query * x.element_size()))
        return torch.cat([self.weights.predict(part[None])[0][0] for part in torch.split(x, chunk)])


def fit_fast_weights(layers: Layers, context: Episode) -> FittedContext:
    """Generate the fast weights of one task."""
    layer = layers[0]
    assert isinstance(layer, MetaNetwork)
    weights = layer.fast_weights(support_batch(context)).snapshot()
    return FittedContext(MetaNetworkPredictor(weights))


@register_method(paper="Munkhdalai, Yu 2017", loss=node_loss)
def meta_networks(
    encoder: nn.Module, *, dim: int, width: int = 64, hidden: int = 20
) -> GraphMethod:
    """Fast weights generated from the gradient of each support, which queries read by attention.

    A star graph: each support is a node with the parameters of a whole network, and a query
    averages these networks by its attention to the supports. Gradients are written out, so the
    method works without a gradient mode.

    Formula:
        e_i = K x_i + b,  K* = mean_i G_K(∇_K CE_i),  r = (K + K*) x + b
        h_i = ReLU(B x_i + d),  B*_i = G_B(∇_B CE_i),  W*_i = G_B(∇_W CE_i)
        a_qi = softmax_i cos(r_q, r_i)
        h_q = ReLU(B x_q + d) + ReLU(Σ_i a_qi B*_i x_q)
        logit_qk = w_k · h_q + Σ_i a_qi w*_ik · h_q
        w_k = v ⊙ mean_{y_i = k} h_i,  in the key network mean_{y_i = k} e_i
        G maps each number of a gradient alone: MLP(max(log|g| / 7, -1), clamp(e⁷ g, -1, 1))

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        width: units H of the key network and of the base network's hidden layer. Time and memory
            grow with `supports · width · dim · hidden`.
        hidden: hidden units of the networks G.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `node_loss`. The edges of
        its last graph are the attention.

    Raises:
        InvalidInputError: if `width` or `hidden` is below 1; later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("meta_networks", encoder=gf.backbones.identity(8), width=4)
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Munkhdalai, Yu, 2017, Meta Networks.

    Deviations:
        Only a hidden layer and a head on the encoder's features have fast weights (convolutions
        too in the paper), without biases. The head row of a class is a learned row, the same for
        all classes, times the class mean of the hidden layer (a learned row per class index in the
        paper), so that any way is possible and the class order does not matter; the shared row
        alone would give all classes the same logit and the hidden layer a gradient of 0. In the key
        network it is the class mean itself, since its gradient is constant. The fast
        weights of the key network are the mean over all supports of an MLP's output (the last
        output of an LSTM over a few supports in the paper), so that their order does not matter.
        The loss is a mean over queries (a sum in the paper). The last layers of the networks G
        start close to 0. Not copied from the published code: it ignores the supports after the
        first 5 or 10 in the key network, trains for 10 ways and tests a head for 5 ways that was
        never trained, and tests with three supports per class where it reports one.
    """
    if min(width, hidden) < 1:
        raise InvalidInputError(f"width and hidden must be at least 1, got {width} and {hidden}")
    return GraphMethod(
        encoder,
        support_query_graph,
        [MetaNetwork(dim, width, hidden)],
        node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("meta_networks"),
        fit_context=fit_fast_weights,
    )
