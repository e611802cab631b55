"""The rows of the tables: a method, its arguments, and what it is told of how the queries are divided."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import graphfew as gf

NOTHING, EVEN = "nothing", "even"


@dataclasses.dataclass(frozen=True)
class Row:
    """A method with arguments; `assumes` is what it takes for granted of the queries' division among classes."""

    name: str
    method: str
    assumes: str = NOTHING
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def build(self, dim: int) -> gf.GraphMethod:
        """The method on features of that width."""
        return gf.create(self.method, encoder=gf.backbones.identity(dim), **self.arguments)


def inductive(centre: Sequence[float] | None) -> list[Row]:
    """Rows that answer each query alone; `centre` is that of other classes' features, where there are any."""
    rows = [Row("nearest neighbour", "nearest_neighbour"), Row("nearest class mean", "prototypical"),
            Row("SimpleShot (supports' mean)", "simpleshot"), Row("linear head", "linear_head"),
            Row("label propagation, inductive", "label_propagation", arguments={"transductive": False}),
            Row("label spreading, inductive", "label_spreading", arguments={"transductive": False}),
            Row("EPNet (untrained), inductive", "epnet", arguments={"transductive": False})]
    if centre is not None:
        rows.insert(3, Row("SimpleShot (validation classes' mean)", "simpleshot", arguments={"centre": list(centre)}))
    return rows


def transductive(power: Mapping[str, float]) -> list[Row]:
    """Rows that answer all queries together; `power` is passed to the methods that take the root by default."""
    return [
        Row("label propagation", "label_propagation"), Row("label spreading", "label_spreading"),
        Row("EPNet (untrained)", "epnet"), Row("LaplacianShot", "laplacian_shot"),
        Row("BD-CSPN", "bd_cspn"), Row("BD-CSPN, even", "bd_cspn", EVEN, {"strength": float("inf")}),
        Row("TIM", "tim"), Row("TIM, even", "tim", EVEN, {"balanced": True}), Row("α-TIM", "alpha_tim"),
        Row("PT-MAP", "pt_map", arguments=power), Row("PT-MAP, even", "pt_map", EVEN, {**power, "balanced": True}),
        Row("propagated prototypes", "propagated_prototypes", arguments=power),
        Row("pool prototypes", "pool_prototypes", arguments={"transductive": True}),
        Row("propagated prototypes, even", "propagated_prototypes", EVEN, {**power, "balanced": True}),
    ]
