"""Which method to use: situations, what to take in each, and what the records say of it beside something plainer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from docs.generate import methods, records
from graphfew.benchmark import report

INDUCTIVE, TRANSDUCTIVE = "inductive", "transductive"
SEMI = "semi-supervised, inductive"
DROPPED = "inductive, unlabeled nodes dropped"


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a benchmark in one mode."""

    name: str
    mode: str
    method: str
    said: str = ""

    def shown(self, up: str) -> str:
        """Its method with a link to the page, and how it was asked; `up` leads to the site's root."""
        return f"[`{self.method}`]({up}methods/{self.method}.md){f', {self.said}' if self.said else ''}"


@dataclasses.dataclass(frozen=True)
class Choice:
    """A situation, and two rows of a benchmark on the same kind of tasks."""

    situation: str
    take: Row
    beside: Row
    benchmark: str
    tasks: str
    draw: Mapping[str, object]

    def cells(self) -> tuple[report.Cell, report.Cell]:
        """The figures of both rows."""
        take, beside = (
            records.cell(self.benchmark, row.name, row.mode, **self.draw)
            for row in (self.take, self.beside)
        )
        return take, beside


def _five(shot: int, query: str, **other: object) -> dict[str, object]:
    return {"way": 5, "shot": shot, "query": query, **other}


MEAN = Row("nearest class mean", INDUCTIVE, "prototypical", "no training")
HEAD = Row("linear head", INDUCTIVE, "linear_head")
SPREAD = Row("propagated prototypes", TRANSDUCTIVE, "propagated_prototypes")
EVEN = Row(
    "propagated prototypes, even", TRANSDUCTIVE, "propagated_prototypes", "told `balanced=True`"
)
POOL = Row("pool prototypes", SEMI, "pool_prototypes")
POOL_EVEN = Row(
    "pool prototypes, told the pile is even, then linear head",
    SEMI,
    "pool_prototypes",
    "told the pile is even, then `linear_head`",
)
PROTOTYPES = Row("prototypes", INDUCTIVE, "prototypical", "`conv_text`")
LABELS = Row("nearest class mean, labels only", INDUCTIVE, "prototypical", "labels only")

CHOICES = (
    Choice(
        "Features, one label per class, each item answered alone",
        HEAD,
        MEAN,
        "cifar-fs-features",
        "5-way 1-shot images",
        _five(1, "balanced(15)"),
    ),
    Choice(
        "Features, five labels per class, each item answered alone",
        HEAD,
        MEAN,
        "cifar-fs-features",
        "5-way 5-shot images",
        _five(5, "balanced(15)"),
    ),
    Choice(
        "Features, many items to answer at once, divided in any way",
        SPREAD,
        MEAN,
        "cifar-fs-features",
        "5-way 1-shot images, queries Dirichlet(2)",
        _five(1, "dirichlet(2.0, 75)"),
    ),
    Choice(
        "The same, of sentences",
        SPREAD,
        MEAN,
        "clinc150",
        "5-way 1-shot intents, queries Dirichlet(2)",
        _five(1, "dirichlet(2.0, 75)"),
    ),
    Choice(
        "Features, many items at once, known to be divided evenly",
        EVEN,
        SPREAD,
        "cifar-fs-features",
        "5-way 1-shot images, even queries",
        _five(1, "balanced(15)"),
    ),
    Choice(
        "Many classes at once",
        SPREAD,
        MEAN,
        "clinc150",
        "150-way 1-shot intents",
        {"way": 150, "shot": 1, "query": "balanced(15)"},
    ),
    Choice(
        "A few labels and a pile, new items answered alone; strangers in the pile",
        POOL,
        LABELS,
        "clinc150-pile",
        "75 intents, half of the pile of others",
        {"way": 75},
    ),
    Choice(
        "The same, the pile known to be even and without strangers",
        POOL_EVEN,
        POOL,
        "clinc150-pile",
        "150 intents, pile of the same",
        {"way": 150},
    ),
    Choice(
        "Images, and many classes to train on; each item answered alone",
        Row("egnn", INDUCTIVE, "egnn"),
        Row("nearest mean, mirrored", INDUCTIVE, "prototypical", "the same encoder"),
        "cifar-fs",
        "5-way 1-shot images",
        _five(1, "balanced(15)"),
    ),
    Choice(
        "The same with five labels per class",
        Row("nearest mean, mirrored", INDUCTIVE, "prototypical"),
        Row("egnn", INDUCTIVE, "egnn", "the same encoder"),
        "cifar-fs",
        "5-way 5-shot images",
        _five(5, "balanced(15)"),
    ),
    Choice(
        "The same, many items answered at once",
        Row("propagated prototypes, mirrored", TRANSDUCTIVE, "propagated_prototypes"),
        Row("egnn", TRANSDUCTIVE, "egnn", "the same encoder"),
        "cifar-fs",
        "5-way 1-shot images, queries Dirichlet(2)",
        _five(1, "dirichlet(2.0, 75)"),
    ),
    Choice(
        "Some shots labeled, the others not, and classes to train on",
        Row("egnn-semi", SEMI, "egnn"),
        Row("egnn-semi", DROPPED, "egnn", "unlabeled shots dropped"),
        "cifar-fs",
        "5-way 5-shot images, a fifth labeled",
        _five(5, "balanced(15)", labeled_ratio=0.2),
    ),
    Choice(
        "Unlabeled items in every task, strangers among them, and classes to train on",
        Row("soft_k_means_cluster", SEMI, "soft_k_means_cluster"),
        Row("prototypical, unlabeled dropped", DROPPED, "prototypical", "unlabeled items dropped"),
        "glyphs-unlabeled",
        "5-way 1-shot characters, 5 strange classes",
        _five(1, "balanced(5)", distractors=5),
    ),
    Choice(
        "Wrong labels among the supports, text",
        Row("hybrid attention", INDUCTIVE, "hybrid_attention"),
        Row("prototypes", INDUCTIVE, "prototypical"),
        "fewrel",
        "5-way 5-shot relations, half of the labels wrong",
        _five(5, "balanced(5)", label_noise=0.5),
    ),
)

# Where the usual choice is the wrong one.
LOSSES = (
    Choice(
        "Told that queries are even, and they are not",
        EVEN,
        SPREAD,
        "cifar-fs-features",
        "5-way 1-shot images, queries Dirichlet(2)",
        _five(1, "dirichlet(2.0, 75)"),
    ),
    Choice(
        "All queries of one class, asked together",
        Row("PT-MAP", TRANSDUCTIVE, "pt_map"),
        MEAN,
        "cifar-fs-features",
        "5-way 1-shot images",
        _five(1, "single-class(75)"),
    ),
    Choice(
        "The same, of sentences, with a method that assumes nothing: no loss",
        SPREAD,
        MEAN,
        "clinc150",
        "5-way 1-shot intents",
        _five(1, "single-class(75)"),
    ),
    Choice(
        "Told that the pile is even, and half of it is strangers",
        POOL_EVEN,
        LABELS,
        "clinc150-pile",
        "75 intents, half of the pile of others",
        {"way": 75},
    ),
    Choice(
        "A pile of which half is strangers, without a word of it",
        POOL,
        Row("label spreading", SEMI, "label_spreading"),
        "clinc150-pile",
        "75 intents, half of the pile of others",
        {"way": 75},
    ),
    Choice(
        "Soft k-means with strangers among the unlabeled",
        Row("soft_k_means", SEMI, "soft_k_means"),
        Row("soft_k_means_cluster", SEMI, "soft_k_means_cluster"),
        "glyphs-unlabeled",
        "5-way 1-shot characters, 5 strange classes",
        _five(1, "balanced(5)", distractors=5),
    ),
    Choice(
        "EGNN, each query alone, on an encoder that has learned all there is",
        Row("egnn", INDUCTIVE, "egnn"),
        Row("prototypical", INDUCTIVE, "prototypical", "the same encoders"),
        "omniglot",
        "20-way 1-shot characters",
        {"way": 20, "shot": 1, "query": "balanced(5)"},
    ),
    Choice(
        "EGNN with many classes and several shots, queries together",
        Row("egnn", TRANSDUCTIVE, "egnn"),
        Row("prototypical", INDUCTIVE, "prototypical", "each query alone"),
        "omniglot",
        "20-way 5-shot characters",
        {"way": 20, "shot": 5, "query": "balanced(5)"},
    ),
    Choice(
        "EGNN trained on ten relations",
        Row("EGNN", TRANSDUCTIVE, "egnn"),
        Row("prototypes", INDUCTIVE, "prototypical"),
        "fewrel",
        "5-way 1-shot relations",
        _five(1, "balanced(5)"),
    ),
    Choice(
        "A relation network, whose published figures see the test batch",
        Row("relation", INDUCTIVE, "relation"),
        Row("prototypical", INDUCTIVE, "prototypical"),
        "omniglot",
        "20-way 1-shot characters",
        {"way": 20, "shot": 1, "query": "balanced(5)"},
    ),
)


def table() -> str:
    """Situations and what to take."""
    return _table("you have", "take", CHOICES)


def losses() -> str:
    """Situations in which a method loses."""
    return _table("where", "loses", LOSSES)


def text() -> str:
    """The choices that were measured on sentences."""
    return _table(
        "you have", "take", tuple(c for c in CHOICES if c.benchmark.startswith("clinc150")), "../"
    )


def fewrel() -> str:
    """Methods on FewRel beside prototypes."""
    return _table(
        "",
        "method",
        tuple(
            Choice(
                f"{shot} shot{'s' * (shot > 1)}",
                row,
                PROTOTYPES,
                "fewrel",
                "5-way relations",
                _five(shot, "balanced(5)", label_noise=None),
            )
            for shot in (1, 5)
            for row in (
                Row("hybrid attention", INDUCTIVE, "hybrid_attention"),
                Row("prototypes, BiLSTM", INDUCTIVE, "prototypical", "`bilstm`"),
                Row("induction", INDUCTIVE, "induction"),
                Row("EGNN", TRANSDUCTIVE, "egnn", "queries together"),
            )
        ),
        "../",
    )


def _table(first: str, second: str, choices: tuple[Choice, ...], up: str = "") -> str:
    rows = []
    for choice in choices:
        take, beside = choice.cells()
        rows.append(
            [
                choice.situation,
                f"{choice.take.shown(up)}<br>{records.accuracy(take)}",
                f"{choice.beside.shown(up)}<br>{records.accuracy(beside)}",
                records.difference(take, beside),
                f"{choice.tasks} ({choice.benchmark})",
            ]
        )
    return methods.table([first, second, "against", "points", "measured on"], rows)
