"""Class scores on a fixed kNN graph, updated label by label.

Label spreading is linear in the labels: the scores of a class are the sum of the influences of its
labeled items. A new label therefore needs one solution with one right-hand side, however many
labels and classes there are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from graphfew.core.topology import Topology
from graphfew.propagation import spread_labels

ALPHA = 0.95
TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True, eq=False)
class LabelGraph:
    """A symmetric kNN graph of all items.

    Attributes:
        topology: the graph.
        weights: `[E, 1]`.
    """

    topology: Topology
    weights: Float[Tensor, "E 1"]

    @property
    def n_items(self) -> int:
        """Number of items."""
        return self.topology.num_nodes

    def spread(self, sources: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Spread columns of sources over the graph."""
        return spread_labels(self.topology, self.weights, sources, ALPHA, tolerance=TOLERANCE)


@dataclasses.dataclass(frozen=True)
class Influence:
    """What a label contributes to the scores of its class.

    Attributes:
        own: to the score of its own item.
        total: to the sum of the scores of all items.
    """

    own: float
    total: float


@dataclasses.dataclass(frozen=True, eq=False)
class GraphScores:
    """Sums of influences of the labels, by class.

    Attributes:
        class_ids: `[C]` number of each class, in the order of their first label.
        sums: `[C, n]` sum of the influences of the class's labels on each item.
        assigned: class number of each labeled item, by its index.
        influences: of items that were labeled one at a time, by their index.

    Example:
        >>> from graphfew.propagation import sparse_knn_gaussian
        >>> x = torch.tensor([[0.0], [1.0], [8.0], [9.0]])
        >>> graph = LabelGraph(*sparse_knn_gaussian(x, 2))
        >>> scores = update_scores(graph, no_scores(4), {0: 5, 3: 7})
        >>> scores.probs().argmax(1).tolist()
        [0, 0, 1, 1]
    """

    class_ids: tuple[int, ...]
    sums: Float[Tensor, "C n"]
    assigned: Mapping[int, int]
    influences: Mapping[int, Influence]

    def probs(
        self, power: float = 1.0, excluded: Bool[Tensor, "n C"] | None = None
    ) -> Float[Tensor, "n C"]:
        """Compute class probabilities of all items; 0 and 1 for labeled ones.

        Args:
            power: exponent of the scores; larger values are more confident.
            excluded: `[n, C]` classes to which an item does not belong.

        Returns:
            `[n, C]`, uniform where the graph connects an item to no label.
        """
        # Classes have equal weight, however many labels they have.
        scores = (self.sums / self.totals[:, None]).T.contiguous()
        probs = normalize_scores(scores, power, excluded)
        if self.assigned:
            items = torch.tensor(list(self.assigned))
            probs[items] = 0
            probs[items, self.columns(self.assigned)] = 1
        return probs

    @cached_property
    def totals(self) -> Float[Tensor, " C"]:
        """`[C]` sum of the scores of all items, at least 1e-12."""
        totals: Tensor = self.sums.sum(1).clamp_min(1e-12)
        return totals

    @cached_property
    def _column_of_class(self) -> dict[int, int]:
        return {class_id: index for index, class_id in enumerate(self.class_ids)}

    def columns(self, items: Iterable[int]) -> Int[Tensor, " k"]:
        """Return the position in `class_ids` of the class of labeled items."""
        column = self._column_of_class
        return torch.tensor([column[self.assigned[item]] for item in items], dtype=torch.int64)

    def held_out_scores(self, items: list[int]) -> Float[Tensor, "k C"]:
        """Compute the scores of labeled items as they would be without their own label.

        Args:
            items: `[k]` indices of items with an entry in `influences`.

        Returns:
            `[k, C]` scores, with classes of equal weight.
        """
        own = torch.tensor([self.influences[item].own for item in items])
        total = torch.tensor([self.influences[item].total for item in items])
        columns, rows = self.columns(items), torch.arange(len(items))
        sums = self.sums[:, items].T.contiguous()
        totals = self.totals.expand(len(items), -1).contiguous()
        n_labels = torch.bincount(self.columns(self.assigned), minlength=len(self.class_ids))
        # Without another label of the class, the difference would be a rounding error.
        is_only_label = n_labels[columns] < 2
        sums[rows, columns] = torch.where(is_only_label, 0, sums[rows, columns] - own)
        totals[rows, columns] -= total
        return sums.clamp_min_(0).div_(totals.clamp_min_(1e-12))


def normalize_scores(
    scores: Float[Tensor, "n C"], power: float, excluded: Bool[Tensor, "n C"] | None = None
) -> Float[Tensor, "n C"]:
    """Convert scores that are not negative to probabilities.

    Args:
        scores: `[n, C]`.
        power: exponent of the scores.
        excluded: `[n, C]` classes with probability 0, unless all are.

    Returns:
        `[n, C]`, uniform for rows of zeros.
    """
    # Scaled to a maximum of 1 first: the scores are tiny, and powers of them would underflow.
    scaled = scores.clamp_min(0)
    scaled.div_(scaled.amax(1, keepdim=True).clamp_min_(1e-30))
    if power != 1:
        scaled.pow_(power)
    if excluded is not None:
        scaled.masked_fill_(excluded, 0)
        # A row without scores is uniform over the classes that are possible.
        is_empty = scaled.sum(1, keepdim=True) <= 0
        scaled.masked_fill_(is_empty & ~excluded, 1)
    scaled[scaled.sum(1) <= 0] = 1
    total = scaled.sum(1, keepdim=True)
    return scaled.div_(total)


def no_scores(n_items: int) -> GraphScores:
    """Return the scores before the first label.

    Args:
        n_items: number of items.

    Returns:
        Scores without classes.
    """
    return GraphScores((), torch.zeros(0, n_items), {}, {})


def update_scores(
    graph: LabelGraph, scores: GraphScores, assigned: Mapping[int, int]
) -> GraphScores:
    """Change the labels, with one right-hand side for each class that gains or loses labels.

    Args:
        graph: the graph.
        scores: the scores before.
        assigned: the new class number of each labeled item, by its index.

    Returns:
        The scores after.
    """
    before = scores.assigned
    changed = [item for item in before.keys() | assigned if before.get(item) != assigned.get(item)]
    if not changed:
        return scores
    involved = {labels[item] for labels in (before, assigned) for item in changed if item in labels}
    affected = sorted(involved)
    column = {class_id: index for index, class_id in enumerate(affected)}
    sources = torch.zeros(graph.n_items, len(affected))
    for item in changed:
        if item in before:
            sources[item, column[before[item]]] -= 1
        if item in assigned:
            sources[item, column[assigned[item]]] += 1
    difference = graph.spread(sources)
    influences = {i: v for i, v in scores.influences.items() if before.get(i) == assigned.get(i)}
    if len(changed) == 1 and changed[0] in assigned:
        item = changed[0]
        influence = difference[:, column[assigned[item]]]
        influences[item] = Influence(float(influence[item]), float(influence.sum()))
    class_ids, sums = _add_rows(scores, affected, difference)
    return _without_empty_classes(GraphScores(class_ids, sums, dict(assigned), influences))


def find_influences(graph: LabelGraph, items: Iterable[int]) -> dict[int, Influence]:
    """Compute the influence of a label on each of the items.

    Args:
        graph: the graph.
        items: indices of items.

    Returns:
        The influence by item.
    """
    indices = list(items)
    sources = torch.zeros(graph.n_items, len(indices))
    sources[indices, range(len(indices))] = 1
    columns = graph.spread(sources) if indices else sources
    return {
        item: Influence(float(columns[item, position]), float(columns[:, position].sum()))
        for position, item in enumerate(indices)
    }


def _add_rows(
    scores: GraphScores, affected: list[int], difference: Tensor
) -> tuple[tuple[int, ...], Tensor]:
    new = [class_id for class_id in affected if class_id not in scores.class_ids]
    class_ids = (*scores.class_ids, *new)
    sums = torch.cat([scores.sums, scores.sums.new_zeros(len(new), scores.sums.shape[1])])
    for position, class_id in enumerate(affected):
        sums[class_ids.index(class_id)] += difference[:, position]
    return class_ids, sums


def _without_empty_classes(scores: GraphScores) -> GraphScores:
    """Drop classes that lost their last label, whose sums are rounding errors."""
    used = set(scores.assigned.values())
    rows = [row for row, class_id in enumerate(scores.class_ids) if class_id in used]
    if len(rows) == len(scores.class_ids):
        return scores
    class_ids = tuple(scores.class_ids[row] for row in rows)
    return dataclasses.replace(scores, class_ids=class_ids, sums=scores.sums[rows])
