"""LEO: classifier weights decoded from a latent code per class, adapted in the latent space."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.dense_batch import DenseBatch, map_to_classes
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.methods._checks import require_fraction, require_labeled, require_positive
from graphfew.methods.losses import penalized_node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.gaussian_sampler import GaussianSampler
from graphfew.nn.layers import Layers
from graphfew.nn.method import GraphMethod
from graphfew.nn.predictors import FittedContext, LinearPredictor, TransformedPredictor, unit_length
from graphfew.nn.prototypes import (
    class_means,
    inner_product_edges,
    task_means,
    unit_class_mean_graph,
)
from graphfew.nn.readout import class_node_logits
from graphfew.nn.relation_network import RelationNetwork


@dataclasses.dataclass(frozen=True)
class PenaltyWeights:
    """Weights of the penalties that LEO's layer adds to the loss."""

    kl: float
    encoder: float
    orthogonality: float


class LatentClassifier(nn.Module):
    """Layer that sets class nodes to classifier weights, adapted by way of one code per class."""

    def __init__(
        self,
        dim: int,
        latents: int,
        steps: tuple[int, int],
        rates: tuple[float, float],
        p: float,
        penalty: PenaltyWeights,
    ) -> None:
        super().__init__()
        self.latent_steps, self.finetuning_steps = steps
        self.penalty_weights = penalty
        self.dropout = nn.Dropout(p)
        self.encoder = nn.Linear(dim, latents, bias=False)
        self.relation = RelationNetwork(latents, 2 * latents)
        self.decoder = nn.Linear(latents, 2 * dim, bias=False)
        for layer in (self.encoder, self.decoder):
            nn.init.xavier_uniform_(layer.weight)
        self.latent_rate = nn.Parameter(torch.full((latents,), float(rates[0])))
        self.finetuning_rate = nn.Parameter(torch.full((dim,), float(rates[1])))

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with classifier weights as class nodes, and with LEO's penalty."""
        n_items = len(graph.episode.y)
        # One dropout mask for the loops and the predictions.
        items: Tensor = self.dropout(graph.nodes[:n_items])
        supports = graph.episode.encode(lambda _: items).drop_queries()
        weights, penalty = self.class_weights(supports)
        return graph.replace(nodes=torch.cat([items, weights]), penalty=penalty)

    def class_weights(self, supports: Episode) -> tuple[Tensor, Tensor]:
        """Return the weights `[sum(way), F]` and the penalty `[tasks]` of tasks without queries."""
        encoded = supports.encode(self.encoder)
        statistics = class_means(supports.encode(lambda _: self.relation(encoded)))
        code_noise, weight_noise = self._noise(supports)
        codes = GaussianSampler().sample(statistics, code_noise)
        inputs = codes if weight_noise is None else torch.cat([codes, weight_noise], dim=1)
        adapted = map_to_classes(supports, inputs, self._adapt)
        widths = [codes.shape[1], supports.x.shape[1]]
        adapted_codes, weights = torch.split(adapted, widths, dim=1)
        penalty = self.penalty_weights.orthogonality * _row_correlation(self.decoder.weight.T)
        if code_noise is None:
            return weights, penalty.expand(supports.n_tasks)
        divergence = GaussianSampler().divergence(statistics, code_noise)
        shift = (adapted_codes.detach() - codes).square()
        terms = self.penalty_weights.kl * divergence + self.penalty_weights.encoder * shift
        per_class = terms.mean(1, keepdim=True)
        return weights, penalty + task_means(per_class, supports.way)[:, 0]

    def _noise(self, supports: Episode) -> tuple[Tensor | None, Tensor | None]:
        """Return the noise of the codes, and of the weights in each decoding; none in evaluation."""
        if not self.training:
            return None, None
        latents, dim = len(self.latent_rate), len(self.finetuning_rate)
        width = latents + (self.latent_steps + 1) * dim
        x = supports.x
        # Task by task: the noise of a task depends neither on later tasks nor on how tasks of equal
        # size are grouped.
        noise = torch.cat([x.new_empty(way, width).normal_() for way in supports.way])
        return noise[:, :latents], noise[:, latents:]

    def _adapt(self, tasks: DenseBatch) -> Tensor:
        """Map codes and noise `[G, way, C]` to adapted codes and weights `[G, way, latents + F]`."""
        assert tasks.class_nodes is not None
        x, label = tasks.x.double(), tasks.one_hot.double()
        inputs = tasks.class_nodes.double()
        latents, dim, way = len(self.latent_rate), x.shape[2], label.shape[2]
        codes = inputs[:, :, :latents]
        noise: Iterator[Tensor | None] = itertools.repeat(None)
        if inputs.shape[2] > latents:
            noise = iter(torch.split(inputs[:, :, latents:], dim, dim=2))
        # The deviation at s = 0 is that of an initial linear layer from features to classes.
        sampler = GaussianSampler(offset=(2 / (way + dim)) ** 0.5)
        decoder = self.decoder.weight.double()
        for _ in range(self.latent_steps):
            statistics, step_noise = F.linear(codes, decoder), next(noise)
            weights = sampler.sample(statistics, step_noise)
            grad = support_gradient(x, label, weights)
            statistics_grad = sampler.statistics_gradient(statistics, step_noise, grad)
            codes = codes - self.latent_rate * (statistics_grad @ decoder)
        weights = sampler.sample(F.linear(codes, decoder), next(noise))
        for _ in range(self.finetuning_steps):
            weights = weights - self.finetuning_rate * support_gradient(x, label, weights)
        return torch.cat([codes, weights], dim=2).to(tasks.x.dtype)


def support_gradient(x: Tensor, label: Tensor, weights: Tensor) -> Tensor:
    """Return the gradient of the supports' cross-entropy with respect to class weights.

    It is written out, so that it needs no autograd; differentiating it gives second derivatives.

    Args:
        x: supports, `[G, n, F]`.
        label: one-hot labels, `[G, n, way]`.
        weights: `[G, way, F]`.

    Returns:
        `[G, way, F]`: in the row of each class, the sum over supports divided by the number of
        supports of the class.
    """
    probs = torch.bmm(x, weights.mT).softmax(2)
    residual = (probs - label) / label.sum(1, keepdim=True)
    return torch.bmm(residual.mT, x)


def _row_correlation(matrix: Tensor) -> Tensor:
    """Mean squared difference between the cosines of all rows and the identity."""
    rows = F.normalize(matrix, dim=1)
    cosines = rows @ rows.T
    identity = torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
    return (cosines - identity).square().mean()


def fit_leo(layers: Layers, context: Episode) -> FittedContext:
    """Adapt the classifier weights to one task."""
    layer = layers[0]
    assert isinstance(layer, LatentClassifier)
    weight, _ = layer.class_weights(context.encode(unit_length))
    linear = LinearPredictor(weight, weight.new_zeros(len(weight)))
    return FittedContext(TransformedPredictor(unit_length, linear))


@register_method(paper="Rusu et al. 2019", loss=penalized_node_loss)
def leo(
    encoder: nn.Module,
    *,
    dim: int,
    latents: int = 64,
    latent_steps: int = 5,
    finetuning_steps: int = 5,
    latent_rate: float = 1.0,
    finetuning_rate: float = 1e-3,
    p: float = 0.308,
    kl_weight: float = 0.756,
    encoder_weight: float = 5.76e-6,
    orthogonality_weight: float = 0.188,
) -> GraphMethod:
    """Classifier weights decoded from one latent code per class, adapted in the latent space.

    A relation network on the complete graph of the supports predicts the distribution of the codes.
    Codes and weights are sampled in training; evaluation uses their means. Both loops differentiate
    the supports' cross-entropy, and training differentiates through them (second order).

    Formula:
        h_i = E x_i,  x of length 1,  r_i = W₃ mean_j relu(W₂ relu(W₁ [h_i ; h_j]))
        (μ_k, s_k) = mean_{y_i = k} r_i,  z_k ~ N(μ_k, σ(s_k, 0))
        (m_k, t_k) = D z_k,  w_k ~ N(m_k, σ(t_k, √(2 / (way + dim))))
        σ(s, o) = max(exp(s) - (1 - o), 10⁻¹⁰)
        z_k ← z_k - η ⊙ Σ_i ∂CE(w x_i, y_i)/∂z_k / n_k,  `latent_steps` times, w decoded again
        w_k ← w_k - α ⊙ Σ_i ∂CE(w x_i, y_i)/∂w_k / n_k,  `finetuning_steps` times
        logit_qk = w_kᵀ x_q
        penalty = kl_weight · mean (log N(z; μ, σ) - log N(z; 0, 1))
            + encoder_weight · mean (stop_gradient(z adapted) - z)²
            + orthogonality_weight · mean (cosines of the rows of Dᵀ - identity)²

    Args:
        encoder: `[N, ...] -> [N, dim]`; pretrained and frozen in the paper.
        dim: output width of the encoder.
        latents: width of the codes.
        latent_steps: gradient steps on the codes; at least 1.
        finetuning_steps: gradient steps on the decoded weights.
        latent_rate: initial step size η of every latent dimension; learned.
        finetuning_rate: initial step size α of every feature; learned.
        p: dropout probability of the features.
        kl_weight: weight of the divergence of the codes; this and the next two are those of
            5-way 1-shot miniImageNet in the published code.
        encoder_weight: weight of the distance between initial and adapted codes.
        orthogonality_weight: weight of the correlation of the decoder's rows.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `penalized_node_loss`.

    Raises:
        InvalidInputError: if an argument is out of range; later, if a task has unlabeled nodes.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("leo", encoder=gf.backbones.identity(8))
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Rusu, Rao, Sygnowski, Vinyals, Pascanu, Osindero, Hadsell, 2019, Meta-Learning with Latent
        Embedding Optimization; the details are those of the published code.

    Deviations:
        One code per class. The published code has one per support, whose predictions it averages:
        without sampling that is the same, with gradients divided by the number of supports of the
        class. In training, its average over copies has less noise. Classes may have different
        numbers of supports. The dropout mask is drawn once per item and task (the published code
        draws one in every step). `s` is at most 10 in `σ(s, o)`. The L2 penalty (weight below 10⁻⁸)
        is left to the optimizer, as is the clipping of gradients, without which training can
        diverge: use `graphfew.training.clip_gradients` with `value=0.1, tensor_norm=0.1`. A loss
        that is not finite is an error (the published code skips the step).
    """
    _check_sizes(latents, latent_steps, finetuning_steps)
    require_positive(latent_rate=latent_rate, finetuning_rate=finetuning_rate)
    require_fraction(p=p)
    penalty = PenaltyWeights(kl_weight, encoder_weight, orthogonality_weight)
    _check_weights(penalty)
    layer = LatentClassifier(
        dim,
        latents,
        (latent_steps, finetuning_steps),
        (latent_rate, finetuning_rate),
        p,
        penalty,
    )
    return GraphMethod(
        encoder,
        unit_class_mean_graph,
        [layer, inner_product_edges],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("leo"),
        fit_context=fit_leo,
    )


def _check_sizes(latents: int, latent_steps: int, finetuning_steps: int) -> None:
    if latents < 1 or latent_steps < 1 or finetuning_steps < 0:
        raise InvalidInputError(
            f"leo got latents={latents}, latent_steps={latent_steps} and "
            f"finetuning_steps={finetuning_steps}; the first two must be at least 1, the last at "
            "least 0"
        )


def _check_weights(penalty: PenaltyWeights) -> None:
    for name, value in dataclasses.asdict(penalty).items():
        if not (value >= 0 and math.isfinite(value)):
            raise InvalidInputError(
                f"leo got {name}_weight={value}; it must be at least 0 and finite"
            )
