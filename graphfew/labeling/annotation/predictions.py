"""Class probabilities of all items: the graph's, mixed with those of a slower model."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from graphfew.labeling.annotation.accuracy_estimate import choose_power
from graphfew.labeling.annotation.label_graph import GraphScores

# Weight of the slower model, where there is one.
MODEL_WEIGHT = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class ModelProbs:
    """Probabilities of a model that was fitted to earlier labels.

    Attributes:
        class_ids: `[C']` numbers of the classes it knows.
        probs: `[n, C']`.
        n_labels: number of labels it was fitted to.
    """

    class_ids: tuple[int, ...]
    probs: Float[Tensor, "n C"]
    n_labels: int


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for all items.

    Attributes:
        scores: the graph's scores of the current labels.
        model: probabilities of a slower model, or None.
        not_of_class: pairs of item and class number that are known to be wrong.

    Example:
        >>> from graphfew.labeling.annotation.label_graph import LabelGraph, no_scores, update_scores
        >>> from graphfew.propagation import sparse_knn_gaussian
        >>> graph = LabelGraph(*sparse_knn_gaussian(torch.tensor([[0.0], [1.0], [8.0], [9.0]]), 2))
        >>> scores = update_scores(graph, no_scores(4), {0: 5, 3: 7})
        >>> [class_id for class_id, _ in Predictions(scores).likely(1, 2)]
        [5, 7]
    """

    scores: GraphScores
    model: ModelProbs | None = None
    not_of_class: Collection[tuple[int, int]] = ()

    @property
    def class_ids(self) -> tuple[int, ...]:
        """Numbers of the classes, in the order of the columns."""
        return self.scores.class_ids

    @cached_property
    def probs(self) -> Float[Tensor, "n C"]:
        """`[n, C]` probabilities; 0 and 1 for labeled items."""
        excluded = self._excluded()
        probs = self.scores.probs(choose_power(self.scores), excluded)
        if self.model is None:
            return probs
        position = {class_id: index for index, class_id in enumerate(self.model.class_ids)}
        common = [c for c in self.class_ids if c in position]
        if not common:
            return probs
        columns = [self.class_ids.index(class_id) for class_id in common]
        model_probs = torch.zeros_like(probs)
        model_probs[:, columns] = self.model.probs[:, [position[c] for c in common]].to(probs)
        if excluded is not None:
            model_probs = torch.where(excluded, 0, model_probs)
        is_open = torch.ones(len(probs), 1, dtype=torch.bool)
        is_open[list(self.scores.assigned)] = False
        # What the model gave to removed or excluded classes goes to the graph's probabilities.
        total = model_probs.sum(1, keepdim=True)
        mixed = MODEL_WEIGHT * model_probs + (1 - MODEL_WEIGHT * total) * probs
        return torch.where(is_open, mixed, probs)

    @cached_property
    def top(self) -> tuple[Float[Tensor, " n"], Tensor]:
        """Probability and column of the most probable class of each item."""
        confidence, column = self.probs.max(1)
        return confidence, column

    def likely(self, item: int, n: int) -> list[tuple[int, float]]:
        """Return the most probable classes of an item.

        Args:
            item: index of the item.
            n: the largest number of classes.

        Returns:
            Pairs of class number and probability, the most probable first.
        """
        if not self.class_ids:
            return []
        probs, columns = self.probs[item].topk(min(n, len(self.class_ids)))
        ids = [self.class_ids[column] for column in columns.tolist()]
        return list(zip(ids, probs.tolist(), strict=True))

    @cached_property
    def margin(self) -> Float[Tensor, " n"]:
        """`[n]` difference between the two most probable classes; small if uncertain."""
        if len(self.class_ids) < 2:
            return torch.zeros(len(self.probs))
        first, second = self.probs.topk(2, 1).values.unbind(1)
        margin: Tensor = first - second
        return margin

    def _excluded(self) -> Bool[Tensor, "n C"] | None:
        column = {class_id: index for index, class_id in enumerate(self.class_ids)}
        pairs = [(item, column[c]) for item, c in self.not_of_class if c in column]
        if not pairs:
            return None
        n_items = self.scores.sums.shape[1]
        excluded = torch.zeros(n_items, len(self.class_ids), dtype=torch.bool)
        items, columns = zip(*pairs, strict=True)
        excluded[list(items), list(columns)] = True
        return excluded
