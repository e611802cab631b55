"""A cell of labels and pile: `FewShotClassifier` fitted to each draw, and asked every item of the test split alone."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor

from graphfew import data
from graphfew._utils.model_spec import JSON
from graphfew.benchmark.data_config import Roots, load
from graphfew.benchmark.environment import all_versions, machine, memory, now
from graphfew.benchmark.experiments import plain
from graphfew.benchmark.records import Record
from graphfew.benchmark.semi_supervised import PileCell, PileSpec
from graphfew.data import Dataset
from graphfew.estimators.classifier import FewShotClassifier
from graphfew.evaluation.accuracy import Result
from graphfew.evaluation.mode import EvaluationMode
from graphfew.evaluation.statistics import t_interval

Array = NDArray[Any]
CPU = torch.device("cpu")
AT_ONCE = 5000


@dataclasses.dataclass(frozen=True, eq=False)
class Heap:
    """Where labels and pile are drawn from, what is asked, and items of no class where there are some."""

    train: Dataset
    test: Dataset
    strange: Tensor | None


def heap(spec: PileSpec, roots: Roots) -> Heap:
    """The data of a spec.

    Raises:
        ValueError: data that is not there, items that are no features, splits of other classes, or numbers that they
            cannot give; the message names file and line.
    """
    source, table = spec.source, spec.source.table
    train, test = (
        load(source.name, split, source.arguments, roots, table, "name")
        for split in (source.train, source.test)
    )
    if train.classes != test.classes or train.x.ndim != 2 or not train.x.is_floating_point():
        raise table.fault(
            f"{source.name}: a pile needs features, and the same classes in {source.train} and "
            f"{source.test}; there are {len(train.classes)} and {len(test.classes)} classes, and items "
            f"of shape {list(train.x.shape[1:])}",
            "name",
        )
    for pile in spec.piles:
        fewest = min(map(len, train.members))
        if pile.known > len(train.classes) or pile.labels + pile.size > fewest:
            raise spec.table.table("pile").fault(
                f"{pile}: {source.name}/{source.train} has {len(train.classes)} "
                f"classes, the smallest of {fewest} items; ask for fewer"
            )
    return Heap(train, test, _strange(spec, roots) if spec.out_of_scope else None)


def measured_pile(
    cell: PileCell,
    items: Heap,
    *,
    command: str,
    commit: str | None,
    progress: Callable[[int], None],
) -> Record:
    """The record of a cell; arguments as `measured` takes them.

    Raises:
        ValueError: the method refuses the items.
    """
    spec, scores, asked = cell.spec, [], 0
    with memory(CPU) as peak:
        began = time.perf_counter()
        for number in range(cell.count):
            right, area = _score(cell, items, spec.seed + number)
            scores.append((float(right.mean()), area))
            asked += len(right)
            progress(number + 1)
        seconds, most = time.perf_counter() - began, peak()
    return Record(
        benchmark=spec.name,
        row=cell.row.name,
        seed=None,
        assumes=cell.row.assumes,
        key=cell.key,
        spec_hash=spec.digest,
        commit=commit,
        versions=all_versions(),
        machine=machine(CPU),
        result=_result(cell, items, [accuracy for accuracy, _ in scores]),
        decisions=asked,
        seconds=round(seconds, 6),
        training=(),
        peak_memory=most,
        command=command,
        time=now(),
        figures=_figures([area for _, area in scores]),
    )


def draw(train: Dataset, cell: PileCell, seed: int) -> tuple[Array, Array, Array]:
    """Features and labels to fit, -1 in the pile, which has items of every class; and the known classes."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(train.classes))
    items = {c: rng.permutation(train.members[c]) for c in order.tolist()}
    pile, known = cell.pile, order[: cell.pile.known]
    support = np.concatenate([items[c][: pile.labels] for c in known.tolist()])
    rest = np.concatenate([items[c][pile.labels : pile.labels + pile.size] for c in order.tolist()])
    labels = np.concatenate([np.repeat(known, pile.labels), np.full(len(rest), -1)])
    return train.x.numpy()[np.concatenate([support, rest])], labels, known


def _score(cell: PileCell, items: Heap, seed: int) -> tuple[Array, float | None]:
    """Which answers are right, and the area under the curve of known items against those of no class."""
    row = cell.row
    x, y, known = draw(items.train, cell, seed)
    kept = slice(None) if row.pile else y >= 0
    classifier = FewShotClassifier(
        row.method,
        arguments=dict(row.arguments) or None,
        head=row.head,
        head_arguments=dict(row.head_arguments) or None,
        batch_size=AT_ONCE,
    )
    fitted = classifier.fit(x[kept], y[kept])
    truth = items.test.y.numpy()
    asked = np.isin(truth, known)
    queries = items.test.x.numpy()[asked]
    right: Array = fitted.predict(queries) == truth[asked]
    if items.strange is None:
        return right, None
    inside, outside = (fitted.similarity(part).max(1) for part in (queries, items.strange.numpy()))
    return right, float(
        roc_auc_score(
            np.arange(len(inside) + len(outside)) < len(inside), np.concatenate([inside, outside])
        )
    )


def _result(cell: PileCell, items: Heap, accuracies: list[float]) -> Result:
    mean, half = t_interval(accuracies)
    pile, row = cell.pile, cell.row
    tasks: dict[str, JSON] = {
        "data": items.test.name,
        "split": items.test.split,
        "way": pile.known,
        "shot": pile.labels,
        "unlabeled": pile.size,
        "query": "every item of the split",
        "seed": cell.spec.seed,
        "within_groups": False,
        "pile_classes": len(items.train.classes),
        "drawn_from": f"{items.train.name}/{items.train.split}",
    }
    model = {
        "method": row.method,
        "arguments": plain(row.arguments),
        "head": row.head,
        "head_arguments": plain(row.head_arguments),
        "encoder": {"name": "identity", "arguments": {}},
        "input": list(items.test.x.shape[1:]),
    }
    mode = EvaluationMode(transductive=False, unlabeled=row.pile)
    return Result(mean, half, tuple(accuracies), mode, tasks, model, str(CPU))


def _figures(areas: list[float | None]) -> dict[str, float]:
    known = [area for area in areas if area is not None]
    if not known:
        return {}
    mean, half = t_interval(known)
    return {"auroc": mean, "auroc_half_width": half}


def _strange(spec: PileSpec, roots: Roots) -> Tensor:
    """The items of no class, which a data set of the catalog has beside it."""
    name, table = spec.source.name, spec.table.table("pile")
    reader: Callable[..., Tensor] | None = getattr(data, f"{name}_out_of_scope", None)
    if reader is None:
        raise table.fault(
            f"{name} has no items out of scope; leave out_of_scope out", "out_of_scope"
        )
    try:
        return reader(roots.get(name))
    except (ValueError, OSError) as error:
        raise table.fault(
            f"{name}'s items out of scope cannot be read: {error}", "out_of_scope"
        ) from error
