"""`GraphMethod`: an encoder, an embedding, layers and a readout in one short forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graphfew._utils.model_spec import JSON, ModelSpec
from graphfew.backbones.external import check_features
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.errors import InvalidInputError
from graphfew.nn.deferred_graphs import DeferredGraphs
from graphfew.nn.layers import Layers
from graphfew.nn.predictors import FitContext
from graphfew.ops.magnitude import clamp_magnitude
from graphfew.ops.tracing import is_traced

Embed = Callable[[Episode], Graph]
Layer = Callable[[Graph], Graph]
Readout = Callable[[Graph], Tensor]
Check = Callable[[Episode], None]
FeatureTransform = Callable[[Episode], Episode]
Condition = Callable[[nn.Module, Episode], Episode]
QueryLogits = Callable[[Layers, Episode], Tensor | None]


@dataclasses.dataclass(frozen=True, eq=False)
class MethodOutput:
    """The prediction for an episode, and the graphs that led to it.

    Attributes:
        logits: `[Q, max(way)]`, queries in the episode's order; their softmax is the prediction.
        graphs: the embedded graph, then the graph after each layer. Methods with a closed form
            (`query_logits` of `GraphMethod`) compute them when they are first read, by the weights
            at that time.

    Example:
        >>> import graphfew as gf
        >>> tasks = gf.Tasks(gf.data.glyphs(split="test"), way=5, shot=1, query=3, seed=0)
        >>> episode, target = tasks.batch(range(2))
        >>> model = gf.create("egnn", encoder=gf.backbones.conv4(width=4), layers=2, width=8)
        >>> out = model.eval()(episode)
        >>> out.logits.shape, len(out.graphs)
        (torch.Size([30, 5]), 3)
    """

    logits: Float[Tensor, "Q way"]
    graphs: tuple[Graph, ...] | DeferredGraphs


def accept_any_episode(episode: Episode) -> None:
    """The `check` of a method that accepts every valid episode."""
    del episode


class GraphMethod(nn.Module):
    """A few-shot method: `encoder`, then `embed` to a graph, then `layers`, then `readout`.

    Args:
        encoder: `[N, ...] -> [N, F]`.
        embed: from the encoded episode to its first graph.
        layers: `Graph -> Graph` each; modules or plain functions.
        readout: from the last graph to `logits [Q, max(way)]`.
        transductive: whether a prediction may depend on the other queries of its task.
        independent_queries: for an inductive method whose edges never connect two queries, so
            that one graph per task keeps them independent. Other inductive methods run on one
            graph per query.
        check: raises for an episode that the method cannot process, before any computation.
        condition: `(encoder, episode) -> encoded`, called instead of the ordinary encoding, for a
            method that adapts its encoder to the task. If it adapts a classifier too, the features
            are the class scores of the adapted network (see `class_score_graph`). None for all
            other methods.
        node_order_matters: whether the order of the supports can change predictions; the order
            of other nodes never does.
        unlabeled: whether unlabeled nodes are used; otherwise they are removed from the episode.
        build_other_mode: builds this method in its other mode, if the two modes differ in more
            than their graphs.
        fit_context: `(layers, encoded context) -> FittedContext`, computes everything that does
            not depend on the queries of a task, for an inductive method (see `fit_method`). None
            for methods that predict from whole episodes only.
        query_logits: `(layers, encoded) -> [Q, max(way)]`, computes the logits of the readout
            without building graphs, for a method with a closed form; None for all others. It
            may return None for episodes without such a form, which are predicted from graphs.

    Attributes:
        spec: the name and arguments given to `create`, for checkpoints; None for a method that
            was built directly.
        provenance: facts about the training that results and checkpoints carry.
        has_both_modes: whether `in_mode` can switch between inductive and transductive
            prediction; `create` sets it from the registry.

    Example:
        >>> import torch, graphfew as gf
        >>> model = gf.GraphMethod(
        ...     torch.nn.Flatten(), gf.nn.class_mean_graph,
        ...     [gf.nn.ScaledMetric(gf.squared_euclidean)], gf.nn.class_node_logits,
        ...     transductive=False, independent_queries=True)
        >>> tasks = gf.Tasks(gf.data.glyphs(split="test"), way=5, shot=1, query=3, seed=0)
        >>> model(tasks.batch(range(2))[0]).logits.shape
        torch.Size([30, 5])
    """

    def __init__(
        self,
        encoder: nn.Module,
        embed: Embed,
        layers: Iterable[Layer] | Layers,
        readout: Readout,
        *,
        transductive: bool = True,
        independent_queries: bool = False,
        check: Check = accept_any_episode,
        condition: Condition | None = None,
        node_order_matters: bool = False,
        unlabeled: bool = True,
        build_other_mode: Callable[[], GraphMethod] | None = None,
        fit_context: FitContext | None = None,
        query_logits: QueryLogits | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.embed = embed
        self.layers = layers if isinstance(layers, Layers) else Layers(layers)
        self.readout = readout
        self.transductive = transductive
        self.independent_queries = independent_queries
        self.check = check
        self.condition = condition
        self.node_order_matters = node_order_matters
        self.unlabeled = unlabeled
        self.build_other_mode = build_other_mode
        self.fit_context = fit_context
        self.query_logits = query_logits
        self.spec: ModelSpec | None = None
        self.provenance: Mapping[str, JSON] = {}
        self.has_both_modes = True

    @property
    def one_graph_per_query(self) -> bool:
        """Whether every query needs its own graph to be independent of the others."""
        return not (self.transductive or self.independent_queries)

    def on_features(self) -> GraphMethod:
        """Return this method for items that are already encoded.

        Returns:
            A method with the identity as encoder, `x [N, F]`. It uses the same layers, so training
            it trains the layers of this method too.

        Raises:
            InvalidInputError: the method conditions its encoder on the task, which needs the
                items themselves.
        """
        if self.condition is not None:
            raise InvalidInputError(
                "this method conditions its encoder on the task, so it needs the items "
                "themselves; use it without on_features(), or train it without freeze_encoder"
            )
        build_other_mode = self.build_other_mode
        if build_other_mode is not None:
            build_other_mode = _then(build_other_mode, GraphMethod.on_features)
        return self._copy(encoder=nn.Identity(), build_other_mode=build_other_mode)

    def with_transform(self, transform: FeatureTransform) -> GraphMethod:
        """Return this method on transformed features.

        Args:
            transform: from an encoded episode to an episode with other features of the same nodes,
                such as `graphfew.propagation.balanced_pairwise_affinities`.

        Returns:
            A method with the same weights. It has no `spec`, so it cannot be saved, and no fitted
            form. An inductive method predicts each query in a graph of its own, because the
            transform may connect queries.

        Example:
            >>> import graphfew as gf
            >>> model = gf.create("prototypical", encoder=gf.backbones.identity(4))
            >>> model.with_transform(gf.propagation.balanced_pairwise_affinities).transductive
            False
        """
        embed = self.embed

        def embed_transformed(encoded: Episode) -> Graph:
            return embed(transform(encoded))

        build_other_mode = self.build_other_mode
        if build_other_mode is not None:
            build_other_mode = _then(
                build_other_mode, lambda other: other.with_transform(transform)
            )
        return self._copy(
            embed=embed_transformed,
            independent_queries=False,
            build_other_mode=build_other_mode,
            fit_context=None,
            query_logits=None,
        )

    def in_mode(
        self, *, transductive: bool | None = None, unlabeled: bool | None = None
    ) -> GraphMethod:
        """Return this method in another evaluation mode, with shared weights.

        Args:
            transductive: whether to predict all queries of a task together; None keeps the mode.
            unlabeled: False removes unlabeled nodes before any computation; None keeps the mode.

        Returns:
            A method with the same weights. A checkpoint of it keeps its mode.

        Raises:
            InvalidInputError: the method has no such mode.

        Example:
            >>> import graphfew as gf
            >>> model = gf.create("egnn", encoder=gf.backbones.identity(4))
            >>> model.transductive, model.in_mode(transductive=False).transductive
            (True, False)
        """
        transductive = self.transductive if transductive is None else transductive
        unlabeled = self.unlabeled if unlabeled is None else unlabeled
        changes_mode = transductive is not self.transductive
        base = self
        if changes_mode:
            self._check_other_mode(transductive)
            if self.build_other_mode is not None:
                base = self.build_other_mode()
        other = base._copy(transductive=transductive, unlabeled=unlabeled)
        other.spec = _spec_in_mode(
            self.spec, transductive if changes_mode else None, unlabeled=unlabeled
        )
        other.provenance = self.provenance
        other.has_both_modes = self.has_both_modes
        if changes_mode:
            trained_mode = "transductive" if self.transductive else "inductive"
            # After two changes of mode, the first entry remains: the mode that was trained.
            other.provenance = {"trained_mode": trained_mode, **self.provenance}
        return other

    def _check_other_mode(self, transductive: bool) -> None:
        never_joins_queries = self.independent_queries and self.build_other_mode is None
        if self.has_both_modes and not (transductive and never_joins_queries):
            return
        name = "this method" if self.spec is None else self.spec.name
        mode = "transductive" if transductive else "inductive"
        raise InvalidInputError(
            f"{name} has no {mode} mode; keep its mode, or choose a method with both, such as egnn"
        )

    def _copy(self, **changes: Any) -> GraphMethod:
        """Return a method with the same modules and the given constructor arguments changed."""
        arguments: dict[str, Any] = {
            "encoder": self.encoder,
            "embed": self.embed,
            "layers": self.layers,
            "readout": self.readout,
            "transductive": self.transductive,
            "independent_queries": self.independent_queries,
            "check": self.check,
            "condition": self.condition,
            "node_order_matters": self.node_order_matters,
            "unlabeled": self.unlabeled,
            "build_other_mode": self.build_other_mode,
            "fit_context": self.fit_context,
            "query_logits": self.query_logits,
        }
        # A new shell around the same modules: weights are shared, and trained through either.
        copy = GraphMethod(**{**arguments, **changes})
        copy.has_both_modes = self.has_both_modes
        return copy

    def encode(self, episode: Episode) -> Episode:
        """Encode the items of an episode, once each, regardless of the number of graphs.

        Args:
            episode: an episode with items `x [N, ...]`.

        Returns:
            The episode with features `x [N, F]`.

        Raises:
            InvalidInputError: the method cannot process the episode; raised before encoding.
        """
        if not self.unlabeled:
            episode = episode.drop_unlabeled()
        self.check(episode)
        if self.condition is None:
            return episode.encode(self.encode_items)
        return self.condition(self.encoder, episode).encode(clamp_magnitude)

    def encode_items(self, x: Tensor) -> Float[Tensor, "N F"]:
        """Encode items without their task, by the encoder as it is before any adaptation.

        Args:
            x: items `[N, ...]`.

        Returns:
            Features `[N, F]`.

        Raises:
            InvalidInputError: the encoder returned another number of rows.
        """
        return bounded_features(self.encoder, x)

    def forward_encoded(self, encoded: Episode) -> MethodOutput:
        """Run embedding, layers and readout on one graph per task of the episode.

        Args:
            encoded: an episode with features `x [N, F]`; call `encoded.inductive()` beforehand
                if `one_graph_per_query` is true.

        Returns:
            Logits `[Q, max(way)]` and the graph after each layer.
        """
        logits = self._direct_logits(encoded)
        if logits is not None:
            return MethodOutput(logits, DeferredGraphs(lambda: self._graphs(encoded)))
        graphs = self._graphs(encoded)
        return MethodOutput(self.readout(graphs[-1]), graphs)

    def _graphs(self, encoded: Episode) -> tuple[Graph, ...]:
        """Return the embedded graph, then the graph after each layer."""
        graph = self.embed(encoded)
        return (graph, *self.layers(graph))

    def _direct_logits(self, encoded: Episode) -> Tensor | None:
        """Return the logits without graphs; None if the method has no such form."""
        # Its control flow depends on values.
        if self.query_logits is None or is_traced():
            return None
        return self.query_logits(self.layers, encoded)

    def predict_logits(self, encoded: Episode) -> Float[Tensor, "Q way"]:
        """Compute the logits of `forward_encoded` only.

        The last layer skips edges that the logits do not need, and no intermediate graph is kept
        in memory.

        Args:
            encoded: as for `forward_encoded`.

        Returns:
            `[Q, max(way)]`.
        """
        logits = self._direct_logits(encoded)
        if logits is not None:
            return logits
        return self.readout(self.layers.forward_to_queries(self.embed(encoded)))

    def forward(self, episode: Episode) -> MethodOutput:
        """Predict the queries of an episode.

        Args:
            episode: an episode with items `x [N, ...]`.

        Returns:
            Logits `[Q, max(way)]` and the graph after each layer.

        Raises:
            InvalidInputError: the method cannot process the episode; raised before encoding.
        """
        encoded = self.encode(episode)
        return self.forward_encoded(encoded.inductive() if self.one_graph_per_query else encoded)


def _then(
    build: Callable[[], GraphMethod], change: Callable[[GraphMethod], GraphMethod]
) -> Callable[[], GraphMethod]:
    # Deferred: the other mode is built only if it is used.
    def build_changed() -> GraphMethod:
        return change(build())

    return build_changed


def _spec_in_mode(
    spec: ModelSpec | None, transductive: bool | None, *, unlabeled: bool
) -> ModelSpec | None:
    """The spec of a model whose mode has changed; `rebuild` applies `unlabeled` after `create`."""
    if spec is None:
        return None
    arguments = {key: value for key, value in spec.arguments.items() if key != "unlabeled"}
    if transductive is not None:
        arguments["transductive"] = transductive
    if not unlabeled:
        arguments["unlabeled"] = False
    return ModelSpec(spec.name, arguments)


def bounded_features(encoder: Callable[[Tensor], Tensor], x: Tensor) -> Float[Tensor, "N F"]:
    """Encode items, check the shape of the features and bound their magnitude.

    Args:
        encoder: `[N, ...] -> [N, F]`.
        x: items `[N, ...]`.

    Returns:
        Features `[N, F]`, see `clamp_magnitude`.

    Raises:
        InvalidTypeError: the encoder returned something else than a floating tensor.
        InvalidInputError: the encoder returned another number of rows.
    """
    features = check_features(encoder(x), x.shape[0], None, type(encoder).__name__)
    return clamp_magnitude(features)


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the model's weights; the CPU if it has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
