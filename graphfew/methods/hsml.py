"""HSML: the start of a classifier's adaptation depends on the task's place in a cluster tree."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graphfew.core.dense_batch import DenseBatch, map_to_classes
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.core.supports import Supports
from graphfew.errors import InvalidInputError
from graphfew.methods._checks import require_labeled, require_positive
from graphfew.methods.losses import penalized_node_loss
from graphfew.methods.registry import register_method
from graphfew.nn.classifier_starts import prototype_rows
from graphfew.nn.cluster_tree import ClusterTree
from graphfew.nn.inner_loop import StepSizes, adapt_weights
from graphfew.nn.layers import Layers
from graphfew.nn.linear_classifier import LinearWeights
from graphfew.nn.method import GraphMethod
from graphfew.nn.predictors import FittedContext, LinearPredictor
from graphfew.nn.prototypes import class_mean_graph, class_means, inner_product_edges, task_means
from graphfew.nn.readout import class_node_logits
from graphfew.nn.ridge_regression import mean_squared_length

# Width of the first layer of the encoder and of the decoder.
MIDDLE_WIDTH = 96


class TaskAutoencoder(nn.Module):
    """Embedding of a task from its supports, with the error of their reconstruction."""

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__()
        middle = MIDDLE_WIDTH
        self.encoder = nn.Sequential(
            nn.Linear(in_channels, middle), nn.ReLU(), nn.Linear(middle, dim), nn.ReLU()
        )
        self.decoder = nn.Sequential(
            nn.Linear(dim, middle), nn.ReLU(), nn.Linear(middle, in_channels)
        )
        self.pool = nn.Sequential(nn.Linear(dim, dim), nn.ReLU())

    def forward(self, supports: Episode) -> tuple[Tensor, Tensor]:
        """Return embeddings `[T, dim]` and errors `[T]` of tasks that have supports only."""
        codes = self.encoder(supports.x)
        error = (supports.x - self.decoder(codes)).square().mean(1, keepdim=True)
        embedding: Tensor = self.pool(task_means(codes, supports.sizes))
        return embedding, task_means(error, supports.sizes)[:, 0] / 2


class GatedClassifier(nn.Module):
    """Layer that sets class nodes to adapted classifiers, whose start is gated by the task.

    All items get a last feature 1, so that the last weight of a class node is its bias.
    """

    def __init__(
        self,
        dim: int,
        hidden: int,
        tree: ClusterTree,
        *,
        rate: float,
        steps: int,
        test_steps: int,
        penalty_weight: float,
    ) -> None:
        super().__init__()
        self.rate = rate
        self.steps = steps
        self.test_steps = test_steps
        self.penalty_weight = penalty_weight
        self.autoencoder = TaskAutoencoder(2 * dim, hidden)
        self.tree = tree
        self.gate = nn.Linear(2 * hidden, dim + 1)
        self.start = prototype_rows(dim)

    def forward(self, graph: Graph) -> Graph:
        """Return the graph with new class nodes and edges to queries, and with the penalty."""
        n_items = len(graph.episode.y)
        items = F.pad(graph.nodes[:n_items], (0, 1), value=1.0)
        classifiers, penalty = self.classifiers(graph.episode.drop_queries())
        nodes = torch.cat([items, classifiers])
        return inner_product_edges(graph.replace(nodes=nodes, penalty=penalty))

    def classifiers(self, supports: Episode) -> tuple[Tensor, Tensor]:
        """Return weights and biases `[sum(way), F + 1]` and penalties `[T]`; there are no queries."""
        gates, error = self.task_gates(supports)
        way = torch.tensor(supports.way, device=gates.device)
        class_gates = gates.repeat_interleave(way, dim=0, output_size=sum(supports.way))
        classifiers = map_to_classes(supports, class_gates, self._adapt)
        return classifiers, self.penalty_weight * error

    def task_gates(self, supports: Episode) -> tuple[Tensor, Tensor]:
        """Return gates of weights and bias `[T, F + 1]`, and reconstruction errors `[T]`."""
        # Instead of a label, each support has the mean of its class: class names do not matter.
        way = torch.tensor(supports.way, device=supports.x.device)
        first_class = way.cumsum(0) - way
        class_mean = class_means(supports)[first_class[supports.task] + supports.y]
        described = supports.encode(lambda x: torch.cat([x, class_mean], dim=1))
        embedding, error = self.autoencoder(described)
        root = self.tree(embedding)
        gates: Tensor = self.gate(torch.cat([embedding, root], dim=1)).sigmoid()
        return gates, error

    def _adapt(self, tasks: DenseBatch) -> Tensor:
        gate = tasks.class_nodes
        assert gate is not None
        n_tasks, n_supports, _ = tasks.x.shape
        nodes = torch.arange(n_supports, device=gate.device).expand(n_tasks, -1)
        supports = Supports(tasks.x, tasks.one_hot, ~tasks.query, nodes)
        start = self.start(supports)
        assert start.bias is not None
        gated = LinearWeights(gate[..., :-1] * start.weight, gate[..., -1] * start.bias)
        steps = self.steps if self.training else self.test_steps
        unit = 1 / (mean_squared_length(supports) + 1)
        step_sizes = StepSizes((self.rate * unit)[:, None].expand(-1, steps))
        # The products between items would lose too many digits in the precision of autocast.
        with torch.autocast(gate.device.type, enabled=False):
            adapted = adapt_weights(supports, gated, step_sizes)
        assert adapted.bias is not None
        return torch.cat([adapted.weight, adapted.bias[..., None]], dim=2).to(tasks.x.dtype)


def fit_hsml(layers: Layers, context: Episode) -> FittedContext:
    """Adapt the classifier to one task."""
    layer = layers[0]
    assert isinstance(layer, GatedClassifier)
    classifiers, _ = layer.classifiers(context)
    return FittedContext(LinearPredictor(classifiers[:, :-1], classifiers[:, -1]))


@register_method(paper="Yao et al. 2019", loss=penalized_node_loss)
def hsml(
    encoder: nn.Module,
    *,
    dim: int,
    clusters: Sequence[int] = (4, 2),
    sigma: float = 10.0,
    hidden: int = 128,
    steps: int = 5,
    test_steps: int | None = None,
    rate: float = 2.0,
    reconstruction_weight: float = 0.01,
) -> GraphMethod:
    """Gradient descent on a classifier whose start is gated by a soft tree of task clusters.

    Similar tasks take similar paths through the tree and therefore have similar starts. The tree is
    a graph above the tasks: a node per task, levels of cluster nodes and a root.

    Formula:
        h_i = f([x_i ; c_{y_i}]),  c_k = mean_{y_i = k} x_i,  e = relu(linear(mean_i h_i))
        r = root of `ClusterTree` above e,  η = sigmoid(linear([e ; r]))
        w_k = η_w ⊙ 2 c_k,  b_k = -η_b ‖c_k‖²
        W ← W - u · ∇_W mean_i CE(W x_i + b, y_i),  b likewise,  u = rate / mean_i (‖x_i‖² + 1)
        logit_q = W x_q + b
        penalty = reconstruction_weight · mean_i ½ mean ([x_i ; c_{y_i}] - g(h_i))²,  g an MLP

    Args:
        encoder: `[N, ...] -> [N, dim]`.
        dim: output width of the encoder.
        clusters: number of cluster nodes of each level of the tree, leaves first.
        sigma: width of the leaf clusters; assignments are sharper for smaller values.
        hidden: width of the task embedding and of the tree's nodes.
        steps: gradient steps in training.
        test_steps: gradient steps in evaluation; None for `steps`.
        rate: step size, in units of the inverse of the supports' mean squared length plus 1.
        reconstruction_weight: weight of the autoencoder's error in the loss.

    Returns:
        An inductive `GraphMethod` with logits `[Q, way]`, trained with `penalized_node_loss`.

    Raises:
        InvalidInputError: if an argument is out of range; later, if a task has unlabeled nodes.
        NumericalError: later, if the gradient steps diverge.

    Example:
        >>> import torch
        >>> import graphfew as gf
        >>> labels = torch.tensor([0, 0, 1, 1, -1, -1])
        >>> episode = gf.Episode.single(torch.randn(6, 8), labels, labels < 0, way=2)
        >>> model = gf.create("hsml", encoder=gf.backbones.identity(8), hidden=16)
        >>> model(episode).logits.shape
        torch.Size([2, 2])

    Source:
        Yao, Wei, Huang, Li, 2019, Hierarchically Structured Meta-learning; the details are those of
        the published code.

    Deviations:
        Only a linear classifier is adapted and gated (the whole network in the paper). It starts
        at the gated class means: gates of one learned start that all classes share would cancel
        in the softmax, and one start per class would depend on the order of classes. The task is
        embedded from the encoder's features by the published mean aggregator (a separate network
        and a recurrent aggregator, which depends on the order of supports, by default), with class
        means instead of label codes, and from all supports (the first 10). The inner loss is a
        mean, and the step size is relative to the scale of the features. The autoencoder's
        gradients are not clipped.
    """
    test_steps = steps if test_steps is None else test_steps
    _check_tree(clusters, hidden)
    if steps < 0 or test_steps < 0:
        raise InvalidInputError(
            f"steps and test_steps must not be negative, got {steps} and {test_steps}"
        )
    require_positive(rate=rate, sigma=sigma)
    if not (reconstruction_weight >= 0 and math.isfinite(reconstruction_weight)):
        raise InvalidInputError(
            f"reconstruction_weight must be at least 0 and finite, got {reconstruction_weight}"
        )
    layer = GatedClassifier(
        dim,
        hidden,
        ClusterTree(hidden, clusters, sigma),
        rate=rate,
        steps=steps,
        test_steps=test_steps,
        penalty_weight=reconstruction_weight,
    )
    return GraphMethod(
        encoder,
        class_mean_graph,
        [layer],
        class_node_logits,
        transductive=False,
        independent_queries=True,
        check=require_labeled("hsml"),
        fit_context=fit_hsml,
    )


def _check_tree(clusters: Sequence[int], hidden: int) -> None:
    if not clusters or min(clusters) < 1 or hidden < 1:
        raise InvalidInputError(
            f"hsml got clusters={list(clusters)} and hidden={hidden}; it needs at least one level, "
            "and at least 1 cluster per level and hidden unit"
        )
