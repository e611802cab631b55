"""Which method to use: situations, the recommended method, and its measured difference from an alternative."""

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
    """A row of a benchmark in one mode.

    Attributes:
        name: the row's name in the records.
        mode: the evaluation mode, as text.
        method: the registered method.
        note: settings to show after the method, if any.
    """

    name: str
    mode: str
    method: str
    note: str = ""

    def link(self, root: str) -> str:
        """A link to the method's page, with the note; `root` is the relative path to the site's root."""
        link = f"[`{self.method}`]({root}methods/{self.method}.md)"
        return f"{link}, {self.note}" if self.note else link


@dataclasses.dataclass(frozen=True)
class Choice:
    """A situation, the recommended row, and an alternative on the same kind of tasks."""

    situation: str
    recommended: Row
    alternative: Row
    benchmark: str
    tasks: str
    draw: Mapping[str, object]

    def cells(self) -> tuple[report.AggregatedResult, report.AggregatedResult]:
        """The results of both rows."""
        recommended, alternative = (
            records.cell(self.benchmark, row.name, row.mode, **self.draw)
            for row in (self.recommended, self.alternative)
        )
        return recommended, alternative


def _five(shot: int, query: str, **other: object) -> dict[str, object]:
    return {"way": 5, "shot": shot, "query": query, **other}


MEAN = Row("nearest class mean", INDUCTIVE, "prototypical", "no training")
HEAD = Row("linear head", INDUCTIVE, "linear_head")
SPREAD = Row("propagated prototypes", TRANSDUCTIVE, "propagated_prototypes")
EVEN = Row(
    "propagated prototypes, balanced", TRANSDUCTIVE, "propagated_prototypes", "`balanced=True`"
)
POOL = Row("pool prototypes", SEMI, "pool_prototypes")
POOL_EVEN = Row(
    "pool prototypes, balanced prior, then linear head",
    SEMI,
    "pool_prototypes",
    "balanced prior, then `linear_head`",
)
PROTOTYPES = Row("prototypes", INDUCTIVE, "prototypical", "`conv_text`")
LABELS = Row("nearest class mean, labels only", INDUCTIVE, "prototypical", "labels only")

CHOICES = (
    Choice(
        "Features, one label per class, queries predicted one at a time",
        HEAD,
        MEAN,
        "cifar-fs-features",
        "5-way 1-shot images",
        _five(1, "balanced(15)"),
    ),
    Choice(
        "Features, five labels per class, queries predicted one at a time",
        HEAD,
        MEAN,
        "cifar-fs-features",
        "5-way 5-shot images",
        _five(5, "balanced(15)"),
    ),
    Choice(
        "Features, many queries together, unknown class balance",
        SPREAD,
        MEAN,
        "cifar-fs-features",
        "5-way 1-shot images, queries Dirichlet(2)",
        _five(1, "dirichlet(2.0, 75)"),
    ),
    Choice(
        "The same, for sentences",
        SPREAD,
        MEAN,
        "clinc150",
        "5-way 1-shot intents, queries Dirichlet(2)",
        _five(1, "dirichlet(2.0, 75)"),
    ),
    Choice(
        "Features, many queries together, known to be class-balanced",
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
        "Few labels and an unlabeled set with OOD items; new items one at a time",
        POOL,
        LABELS,
        "clinc150-semi-supervised",
        "75 intents, half of the unlabeled set OOD",
        {"way": 75},
    ),
    Choice(
        "The same, unlabeled set known to be class-balanced and without OOD items",
        POOL_EVEN,
        POOL,
        "clinc150-semi-supervised",
        "150 intents, no OOD items",
        {"way": 150},
    ),
    Choice(
        "Images and many training classes; queries one at a time",
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
        "The same, many queries together",
        Row("propagated prototypes, mirrored", TRANSDUCTIVE, "propagated_prototypes"),
        Row("egnn", TRANSDUCTIVE, "egnn", "the same encoder"),
        "cifar-fs",
        "5-way 1-shot images, queries Dirichlet(2)",
        _five(1, "dirichlet(2.0, 75)"),
    ),
    Choice(
        "Partially labeled shots, and many training classes",
        Row("egnn-semi", SEMI, "egnn"),
        Row("egnn-semi", DROPPED, "egnn", "unlabeled shots dropped"),
        "cifar-fs",
        "5-way 5-shot images, a fifth labeled",
        _five(5, "balanced(15)", labeled_ratio=0.2),
    ),
    Choice(
        "Unlabeled items in every task, OOD items among them, and many training classes",
        Row("soft_k_means_cluster", SEMI, "soft_k_means_cluster"),
        Row("prototypical, unlabeled dropped", DROPPED, "prototypical", "unlabeled items dropped"),
        "glyphs-unlabeled",
        "5-way 1-shot characters, 5 OOD classes",
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

# Situations in which the usual choice is wrong.
LOSSES = (
    Choice(
        "A balanced prior for imbalanced queries",
        EVEN,
        SPREAD,
        "cifar-fs-features",
        "5-way 1-shot images, queries Dirichlet(2)",
        _five(1, "dirichlet(2.0, 75)"),
    ),
    Choice(
        "All queries of one class, predicted together",
        Row("PT-MAP", TRANSDUCTIVE, "pt_map"),
        MEAN,
        "cifar-fs-features",
        "5-way 1-shot images",
        _five(1, "single-class(75)"),
    ),
    Choice(
        "The same, for sentences, without an assumption about the balance: no loss",
        SPREAD,
        MEAN,
        "clinc150",
        "5-way 1-shot intents",
        _five(1, "single-class(75)"),
    ),
    Choice(
        "A balanced prior, and half of the unlabeled set is OOD",
        POOL_EVEN,
        LABELS,
        "clinc150-semi-supervised",
        "75 intents, half of the unlabeled set OOD",
        {"way": 75},
    ),
    Choice(
        "Half of the unlabeled set is OOD, no assumption specified",
        POOL,
        Row("label spreading", SEMI, "label_spreading"),
        "clinc150-semi-supervised",
        "75 intents, half of the unlabeled set OOD",
        {"way": 75},
    ),
    Choice(
        "Soft k-means with OOD items among the unlabeled",
        Row("soft_k_means", SEMI, "soft_k_means"),
        Row("soft_k_means_cluster", SEMI, "soft_k_means_cluster"),
        "glyphs-unlabeled",
        "5-way 1-shot characters, 5 OOD classes",
        _five(1, "balanced(5)", distractors=5),
    ),
    Choice(
        "EGNN, inductive, on an encoder that was trained to convergence",
        Row("egnn", INDUCTIVE, "egnn"),
        Row("prototypical", INDUCTIVE, "prototypical", "the same encoders"),
        "omniglot",
        "20-way 1-shot characters",
        {"way": 20, "shot": 1, "query": "balanced(5)"},
    ),
    Choice(
        "EGNN, transductive, with many classes and several shots",
        Row("egnn", TRANSDUCTIVE, "egnn"),
        Row("prototypical", INDUCTIVE, "prototypical", "inductive"),
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
        "A relation network, whose published numbers use test-batch statistics",
        Row("relation", INDUCTIVE, "relation"),
        Row("prototypical", INDUCTIVE, "prototypical"),
        "omniglot",
        "20-way 1-shot characters",
        {"way": 20, "shot": 1, "query": "balanced(5)"},
    ),
)


def table() -> str:
    """Situations and recommended methods."""
    return _table("you have", "use", CHOICES)


def losses() -> str:
    """Situations in which a method loses."""
    return _table("situation", "loses", LOSSES)


def text() -> str:
    """The recommendations that were measured on sentences."""
    sentences = tuple(c for c in CHOICES if c.benchmark.startswith("clinc150"))
    return _table("you have", "use", sentences, "../")


def fewrel() -> str:
    """Methods on FewRel compared with prototypes."""
    rows = (
        Row("hybrid attention", INDUCTIVE, "hybrid_attention"),
        Row("prototypes, BiLSTM", INDUCTIVE, "prototypical", "`bilstm`"),
        Row("induction", INDUCTIVE, "induction"),
        Row("EGNN", TRANSDUCTIVE, "egnn", "transductive"),
    )
    choices = []
    for shot in (1, 5):
        draw = _five(shot, "balanced(5)", label_noise=None)
        situation = "1 shot" if shot == 1 else f"{shot} shots"
        for row in rows:
            choice = Choice(situation, row, PROTOTYPES, "fewrel", "5-way relations", draw)
            choices.append(choice)
    return _table("", "method", tuple(choices), "../")


def _table(first: str, second: str, choices: tuple[Choice, ...], root: str = "") -> str:
    rows = []
    for choice in choices:
        recommended, alternative = choice.cells()
        rows.append(
            [
                choice.situation,
                f"{choice.recommended.link(root)}<br>{records.accuracy(recommended)}",
                f"{choice.alternative.link(root)}<br>{records.accuracy(alternative)}",
                records.difference(recommended, alternative),
                f"{choice.tasks} ({choice.benchmark})",
            ]
        )
    return methods.table([first, second, "compared with", "points", "measured on"], rows)
