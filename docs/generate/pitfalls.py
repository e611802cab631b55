"""Tables of the pitfalls page, from the benchmark records and `benchmarks/pitfalls/results.json`."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

import graphfew as gf
from docs.generate import methods, records
from graphfew.benchmark import report

INDUCTIVE, TRANSDUCTIVE = "inductive", "transductive"
SEMI_SUPERVISED = "semi-supervised, inductive"
MEASURED = records.BENCHMARKS / "pitfalls" / "results.json"
ONE = {"way": 5, "shot": 1}
BALANCED_PRIOR = (
    ("PT-MAP, balanced", TRANSDUCTIVE),
    ("propagated prototypes, balanced", TRANSDUCTIVE),
    ("TIM, balanced", TRANSDUCTIVE),
    ("BD-CSPN, balanced", TRANSDUCTIVE),
)
FREE = (
    ("PT-MAP", TRANSDUCTIVE),
    ("TIM", TRANSDUCTIVE),
    ("α-TIM", TRANSDUCTIVE),
    ("LaplacianShot", TRANSDUCTIVE),
    ("label propagation", TRANSDUCTIVE),
    ("propagated prototypes", TRANSDUCTIVE),
    ("nearest class mean", INDUCTIVE),
)
TOGETHER = ("egnn", "gnn", "α-TIM", "TIM", "PT-MAP", "propagated prototypes", "label propagation")
FEW_CLASSES = (
    ("SimpleShot (supports' mean)", INDUCTIVE),
    ("PADDLE", TRANSDUCTIVE),
    ("StatA", TRANSDUCTIVE),
    ("EM-Dirichlet", TRANSDUCTIVE),
    ("hard EM-Dirichlet", TRANSDUCTIVE),
    ("propagated prototypes", TRANSDUCTIVE),
    ("label spreading", TRANSDUCTIVE),
    ("label propagation", TRANSDUCTIVE),
    ("pool prototypes", TRANSDUCTIVE),
    ("PT-MAP", TRANSDUCTIVE),
    ("BPA", TRANSDUCTIVE),
    ("TIM", TRANSDUCTIVE),
    ("α-TIM", TRANSDUCTIVE),
)
# Classes among the queries, and queries, by the text of the column's head.
CLASS_NUMBERS = {
    "64 of 1–4": "effective(1-4, 64)",
    "64 of 5–10": "effective(5-10, 64)",
    "64 of 10–25": "effective(10-25, 64)",
    "64 of all": "effective(150, 64)",
    "1,000 of 10–25": "effective(10-25, 1000)",
    "1,000 of 25–50": "effective(25-50, 1000)",
    "1,000 of 50–100": "effective(50-100, 1000)",
}
BALANCED, DIRICHLET, SINGLE = "balanced(15)", "dirichlet(2.0, 75)", "single-class(75)"


def balance() -> str:
    """Methods with and without the assumption of class balance, for three query samplers."""
    rows = []
    for row, mode in BALANCED_PRIOR + FREE:
        even, uneven = (
            records.cell("cifar-fs-features", row, mode, **ONE, query=query)
            for query in (BALANCED, DIRICHLET)
        )
        one = _accuracy("cifar-fs-features", row, mode, **ONE, query=SINGLE)
        rows.append(
            [
                row,
                records.accuracy(even),
                records.accuracy(uneven),
                records.difference(uneven, even),
                one,
            ]
        )
    return methods.table(
        ["", "15 queries per class", "75 queries, Dirichlet(2)", "points", "75 of one class"], rows
    )


def few_classes() -> str:
    """Paired differences from the nearest class mean, by the number of classes among the queries."""
    benchmark = "clinc150-effective-classes"
    means = [
        records.cell(benchmark, "nearest class mean", INDUCTIVE, query=query)
        for query in CLASS_NUMBERS.values()
    ]
    rows = [["nearest class mean, accuracy", *map(records.accuracy, means)]]
    for row, mode in FEW_CLASSES:
        points = zip(CLASS_NUMBERS.values(), means, strict=True)
        rows.append(
            [row, *(_points_above(mean, benchmark, row, mode, query) for query, mean in points)]
        )
    return methods.table(["150-way 1-shot, queries", *CLASS_NUMBERS], rows)


def together() -> str:
    """The same weights with each query alone, and with all queries together."""
    comparisons = [
        ("cifar-fs", "egnn", BALANCED),
        ("cifar-fs", "gnn", BALANCED),
        ("omniglot", "egnn", "balanced(5)"),
        ("omniglot", "gnn", "balanced(5)"),
        ("cifar-fs-features", "label propagation", BALANCED),
        ("cifar-fs-features", "label propagation", DIRICHLET),
    ]
    rows = []
    for name, row, query in comparisons:
        alone, both = (
            records.cell(name, row, mode, **ONE, query=query) for mode in (INDUCTIVE, TRANSDUCTIVE)
        )
        rows.append(
            [
                f"{row}, {name}, {query}",
                records.accuracy(alone),
                records.accuracy(both),
                records.difference(both, alone),
            ]
        )
    return methods.table(["5-way 1-shot", "inductive", "transductive", "points"], rows)


def one_per_class() -> str:
    """Transductive methods with one query per class, and with fifteen."""
    rows = []
    for row in TOGETHER:
        one, many, uneven = (
            records.cell("cifar-fs", row, TRANSDUCTIVE, **ONE, query=query)
            for query in ("one-per-class", BALANCED, DIRICHLET)
        )
        rows.append([row, records.accuracy(one), records.accuracy(many), records.accuracy(uneven)])
    return methods.table(
        ["5-way 1-shot, transductive", "1 per class", "15 per class", "75, Dirichlet(2)"], rows
    )


def copies() -> str:
    """One method with augmented input and ensembles."""
    names = (
        "prototypical",
        "prototypical, 8 copies",
        "prototypical, three encoders, 8 copies",
        "prototypical, three encoders and two residual, 8 copies",
    )
    return _compare_rows("omniglot", names, "20-way 1-shot", way=20, shot=1, query="balanced(5)")


def backbone() -> str:
    """One classifier, the nearest class mean, for encoders trained in different ways."""
    names = (
        "prototypical, trained at 1 shot",
        "prototypical",
        "nearest mean, classes only",
        "nearest mean, classes then tasks",
        "nearest mean, mirrored",
    )
    return _compare_rows(
        "cifar-fs", names, "5-way 1-shot, four convolutions of 64 channels", **ONE, query=BALANCED
    )


def split() -> str:
    """The same checkpoints on characters of all alphabets, and of one alphabet."""
    rows = []
    for row, mode in (
        ("prototypical", INDUCTIVE),
        ("egnn", TRANSDUCTIVE),
        ("propagated prototypes", TRANSDUCTIVE),
    ):
        wide, narrow = (
            records.cell(
                "omniglot-within",
                row,
                mode,
                way=20,
                shot=1,
                query="balanced(5)",
                within_groups=within,
            )
            for within in (False, True)
        )
        rows.append(
            [
                f"{row}, {mode}",
                records.accuracy(wide),
                records.accuracy(narrow),
                records.difference(narrow, wide),
            ]
        )
    return methods.table(
        ["20-way 1-shot", "characters of all alphabets", "of one alphabet", "points"], rows
    )


def interval() -> str:
    """Accuracy of one model over increasing numbers of tasks."""
    even = records.cell("cifar-fs-features", "nearest class mean", INDUCTIVE, **ONE, query=BALANCED)
    rows = [
        [f"{n:,}", records.percent(*gf.evaluation.t_interval(even.average.result.per_task[:n]))]
        for n in (20, 50, 100, 300, 600, 1000)
    ]
    return methods.table(["tasks", "accuracy, %"], rows)


def seeds() -> str:
    """Results of several training seeds."""
    rows = []
    for row, mode in (
        ("prototypical", INDUCTIVE),
        ("gnn", TRANSDUCTIVE),
        ("egnn", INDUCTIVE),
        ("egnn", TRANSDUCTIVE),
    ):
        cell = records.cell("omniglot", row, mode, **ONE, query="balanced(5)")
        means = [100 * record.result.mean for record in cell.records]
        rows.append(
            [
                f"{row}, {mode}",
                ", ".join(f"{mean:.2f}" for mean in means),
                f"{100 * (cell.average.seed_std or 0):.2f}",
                f"{100 * cell.records[0].result.half_width:.2f}",
            ]
        )
    return methods.table(
        [
            "5-way 1-shot",
            "three training seeds",
            "their standard deviation",
            "half the interval over tasks, of one",
        ],
        rows,
    )


def unlabeled() -> str:
    """An unlabeled set without OOD items, and one in which half of the items are OOD."""
    names = (
        ("nearest class mean, labels only", INDUCTIVE),
        ("label spreading", SEMI_SUPERVISED),
        ("pool prototypes", SEMI_SUPERVISED),
        ("pool prototypes, balanced prior", SEMI_SUPERVISED),
    )
    rows = []
    for row, mode in names:
        in_distribution, with_ood = (
            _accuracy("clinc150-semi-supervised", row, mode, way=way) for way in (150, 75)
        )
        rows.append([row, in_distribution, with_ood])
    return methods.table(
        ["", "150 intents, no OOD items", "75 intents, half of the unlabeled set OOD"], rows
    )


def ood() -> str:
    """Unlabeled items of the task's classes only, and with as many OOD items."""
    names = (
        ("prototypical, unlabeled dropped", "inductive, unlabeled nodes dropped"),
        *(
            (row, SEMI_SUPERVISED)
            for row in (
                "soft_k_means",
                "soft_k_means_masked",
                "soft_k_means_cluster",
                "label spreading",
                "pool prototypes",
            )
        ),
    )
    rows = []
    for row, mode in names:
        without, among = (
            records.cell("glyphs-unlabeled", row, mode, **ONE, distractors=count)
            for count in (None, 5)
        )
        rows.append(
            [
                row,
                records.accuracy(without),
                records.accuracy(among),
                records.difference(among, without),
            ]
        )
    return methods.table(
        [
            "5-way 1-shot, glyphs",
            "unlabeled items of the task's classes",
            "and of five others",
            "points",
        ],
        rows,
    )


def chosen() -> str:
    """Selection of checkpoints on test tasks, and its bias."""
    found = _measured("chosen on test")
    rows = [
        [
            f"selected on {found['choice_tasks']} test tasks, evaluated on the same tasks (as reported)",
            _points(found["reported"]),
        ],
        ["the same checkpoint, evaluated on other test tasks", _points(found["true"])],
        [
            "selected on as many validation tasks, evaluated on those test tasks",
            _points(found["by validation"]),
        ],
    ]
    return methods.table(
        [
            f"{found['checkpoints']} checkpoints, {found['times']} repetitions",
            "points above the mean over checkpoints",
        ],
        rows,
    )


TABLES: Mapping[str, Callable[[], str]] = {
    "balance": balance,
    "few-classes": few_classes,
    "together": together,
    "one-per-class": one_per_class,
    "copies": copies,
    "backbone": backbone,
    "split": split,
    "interval": interval,
    "seeds": seeds,
    "unlabeled": unlabeled,
    "ood": ood,
    "chosen": chosen,
    "matched": lambda: _pairs("answers matched to labels", "queries"),
    "batch-norm": lambda: _pairs("statistics of the test batch", "queries"),
    "overlap": lambda: _pairs("queries among the supports", ""),
    "hidden": lambda: _pairs("hidden labels vote", "five shots"),
}


def _pairs(pitfall: str, head: str) -> str:
    rows = [
        [name, _figure(found["right"]), _figure(found["wrong"]), _points(found["gain"])]
        for name, found in _measured(pitfall).items()
    ]
    return methods.table([head, "correct", "with the pitfall", "points"], rows)


@functools.cache
def results() -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8"))
    return content


def _measured(pitfall: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = results()["pitfalls"][pitfall]
    return found


def _figure(found: Mapping[str, float]) -> str:
    return records.percent(found["mean"], found["half_width"])


def _points(found: Mapping[str, float]) -> str:
    return f"{records.signed(100 * found['mean'])} ± {100 * found['half_width']:.2f}"


def _points_above(mean: report.AggregatedResult, name: str, row: str, mode: str, query: str) -> str:
    """The paired difference from another result, or a dash if the benchmark has none."""
    try:
        return records.difference(records.cell(name, row, mode, query=query), mean)
    except KeyError:
        return "–"


def _accuracy(name: str, row: str, mode: str, **draw: object) -> str:
    """An accuracy, or a dash if the benchmark has none."""
    try:
        return records.accuracy(records.cell(name, row, mode, **draw))
    except KeyError:
        return "–"


def _compare_rows(name: str, rows: tuple[str, ...], head: str, **draw: object) -> str:
    """Rows of one benchmark, each with its difference from the first."""
    cells: list[report.AggregatedResult] = [
        records.cell(name, row, INDUCTIVE, **draw) for row in rows
    ]
    return methods.table(
        [head, "accuracy, %", "points"],
        [
            [
                row,
                records.accuracy(cell),
                "" if cell is cells[0] else records.difference(cell, cells[0]),
            ]
            for row, cell in zip(rows, cells, strict=True)
        ],
    )
