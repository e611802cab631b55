"""`GraphMethod`: encoder, embedding, layers and readout in one short forward."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graphfew._utils.model_spec import JSON, ModelSpec
from graphfew.backbones.external import check_features
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph
from graphfew.nn.layers import Layers
from graphfew.ops.magnitude import clamp_magnitude

Embed = Callable[[Episode], Graph]
Layer = Callable[[Graph], Graph]
Readout = Callable[[Graph], Tensor]
Check = Callable[[Episode], None]
Condition = Callable[[nn.Module, Episode, Episode], Episode]


@dataclasses.dataclass(frozen=True, eq=False)
class MethodOutput:
    """What a method says of an episode.

    Shapes:
        logits: `[Q, max(way)]`, queries in the episode's order; their softmax is the prediction.
        graphs: the embedded graph, then the graph after each layer.
    """

    logits: Float[Tensor, "Q way"]
    graphs: tuple[Graph, ...]


def accept_any_episode(episode: Episode) -> None:
    """The check of a method that takes every valid episode."""
    del episode


class GraphMethod(nn.Module):
    """A few-shot method: `encoder`, then `embed` to a graph, then `layers`, then `readout`.

    Args:
        encoder: `[N, ...] -> [N, F]`.
        embed: the episode, encoded, to its first graph.
        layers: `Graph -> Graph` each; modules or plain functions.
        readout: the last graph to `logits [Q, way]`.
        transductive: whether a prediction may depend on the other queries of its task.
        independent_queries: for an inductive method whose edges never connect two queries, so that one graph per
            task keeps them independent; otherwise an inductive method runs on one graph per query.
        check: refuses an episode that the method is not made for, before any work.
        condition: `(encoder, episode, encoded) -> encoded`, for a method that encodes a second time, once it has seen
            the task; None for all others.
        node_order_matters: the method reads supports in node order; the order of all other nodes never matters.
        unlabeled: whether unlabeled nodes are looked at; otherwise they are dropped before any work, so that the
            method answers as if they were not there.
        build_other_mode: builds this method in its other mode, if the two differ in more than their graphs.

    Attributes:
        recipe: what `create` was called with, for checkpoints; None for a method built by hand.
        provenance: facts of the training that results carry (seed, the split that the checkpoint was selected on).
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
        self.spec: ModelSpec | None = None
        self.provenance: Mapping[str, JSON] = {}

    @property
    def one_graph_per_query(self) -> bool:
        """Whether every query needs a graph of its own."""
        return not (self.transductive or self.independent_queries)

    def on_features(self) -> GraphMethod:
        """This method for items that are encoded already, `x [N, F]`; its layers are shared, so are trained with it.

        Raises:
            ValueError: the method encodes items in the light of their task, which features cannot be.
        """
        if self.condition is not None:
            raise ValueError(
                "this method encodes every item in the light of its task; it needs the items themselves"
            )
        return GraphMethod(
            nn.Identity(),
            self.embed,
            self.layers,
            self.readout,
            transductive=self.transductive,
            independent_queries=self.independent_queries,
            check=self.check,
            node_order_matters=self.node_order_matters,
            unlabeled=self.unlabeled,
            build_other_mode=self._other(lambda other: other.on_features()),
        )

    def in_mode(
        self, *, transductive: bool | None = None, unlabeled: bool | None = None
    ) -> GraphMethod:
        """This method answering queries together or each alone, whatever it was trained for; all weights are shared.

        Args:
            transductive: None keeps the mode.
            unlabeled: False drops unlabeled nodes before any work; None keeps what it does.

        Raises:
            ValueError: a method that never joins two queries, asked to be transductive.
        """
        transductive = self.transductive if transductive is None else transductive
        unlabeled = self.unlabeled if unlabeled is None else unlabeled
        base = self
        if transductive is not self.transductive and self.build_other_mode is not None:
            base = self.build_other_mode()
        if base.independent_queries and transductive:
            raise ValueError("this method never joins two queries; it has no transductive mode")
        other = GraphMethod(
            base.encoder,
            base.embed,
            base.layers,
            base.readout,
            transductive=transductive,
            independent_queries=base.independent_queries,
            check=base.check,
            condition=base.condition,
            node_order_matters=base.node_order_matters,
            unlabeled=unlabeled,
            build_other_mode=base.build_other_mode,
        )
        other.provenance, other.spec = self.provenance, self.spec
        if transductive is not self.transductive:
            trained = "transductive" if self.transductive else "inductive"
            other.provenance = {"trained_mode": trained, **self.provenance}
            if self.spec is not None:
                arguments = {**self.spec.arguments, "transductive": transductive}
                other.spec = ModelSpec(self.spec.name, arguments)
        return other

    def _other(
        self, change: Callable[[GraphMethod], GraphMethod]
    ) -> Callable[[], GraphMethod] | None:
        make = self.build_other_mode
        return None if make is None else lambda: change(make())

    def encode(self, episode: Episode) -> Episode:
        """The episode with its items encoded, `x [N, F]`; each item once, whatever the number of graphs it joins."""
        if not self.unlabeled:
            episode = episode.labeled_only()
        self.check(episode)
        encoded = episode.encode(self.encoder)
        check_features(encoded.x, len(episode.y), None, type(self.encoder).__name__)
        encoded = encoded.encode(clamp_magnitude)
        if self.condition is None:
            return encoded
        return self.condition(self.encoder, episode, encoded).encode(clamp_magnitude)

    def forward_encoded(self, encoded: Episode) -> MethodOutput:
        """Logits and graphs of an encoded episode, taken as it is: one graph per task."""
        graph = self.embed(encoded)
        graphs = (graph, *self.layers(graph))
        return MethodOutput(self.readout(graphs[-1]), graphs)

    def predict_logits(self, encoded: Episode) -> Float[Tensor, "Q way"]:
        """The logits of `relate`, without the edges and graphs that they do not need."""
        return self.readout(self.layers.forward_to_queries(self.embed(encoded)))

    def forward(self, episode: Episode) -> MethodOutput:
        """Logits `[Q, way]` and the graph after each layer.

        Raises:
            ValueError: the episode is not one that the method can answer; raised before any work.
        """
        encoded = self.encode(episode)
        return self.forward_encoded(encoded.inductive() if self.one_graph_per_query else encoded)


def device_of(model: nn.Module) -> torch.device:
    """Where the model's weights are; the CPU where it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))
