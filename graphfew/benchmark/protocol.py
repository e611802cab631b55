"""What a figure hangs on, of our own records and of published ones, and what keeps two of them from being compared."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from graphfew.benchmark.published import Figure
from graphfew.benchmark.records import Record
from graphfew.data.catalog import TEST_SPLITS
from graphfew.data.query_sampling import parse_queries

BATCH_NORM = "transductive batch norm"
DROPPED = "unlabeled nodes dropped"
UNKNOWN = "unknown"
# The names of papers for what the library's factories build.
_BACKBONES = {
    "gnn_omniglot": "gnn-omniglot",
    "egnn_conv": "conv-64-96-128-256",
    "conv_text": "conv-text",
    "bilstm": "bilstm",
    "identity": "features",
    "resnet12": "resnet12",
    "resnet18": "resnet18",
    "wrn28_10": "wrn28-10",
}
_DRAWS = (
    (r"one-per-class", "1 query per class"),
    (r"single", "1 query"),
    (r"balanced\((.+)\)", r"\1 queries per class"),
    (r"dirichlet\((.+), (.+)\)", r"\2 queries, Dirichlet(\1)"),
    (r"multinomial\((.+)\)", r"\1 queries, multinomial"),
    (r"single-class\((.+)\)", r"\1 queries of one class"),
)
_NAMES = {
    "batch_norm": "batch norm statistics",
    "labeled_ratio": "share of shots with labels",
    "unlabeled": "unlabeled items per class",
    "distractors": "distractor classes",
    "label_noise": "label noise",
    "within_groups": "classes of one group",
    "assumes": "told of the queries' division",
    "selected_on": "checkpoint selected on",
    "tasks": "test tasks",
}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """All that decides what an accuracy means, in words that two of them can be compared by.

    Shapes:
        data: the benchmark's name; split: "test", or words.
        query: as `data.queries` names a draw, such as "balanced(15)", or words, or "unknown".
        mode: inductive or transductive, "semi-supervised, " before it where unlabeled items are used.
        batch_norm: "running", "test batch" or "unknown".
        backbone: such as conv4-64.
        assumes: what the method is told of the queries' division: "nothing" or "even".
        selected_on: "validation", "test", "nothing" or "unknown".
        unlike: what else moves the accuracy, in words.
    """

    data: str
    split: str
    way: str
    shot: str
    mode: str
    batch_norm: str
    query: str
    backbone: str
    assumes: str
    selected_on: str
    unlabeled: str
    labeled_ratio: str
    distractors: str
    label_noise: str
    within_groups: str
    tasks: int | None
    unlike: tuple[str, ...] = ()


def of_record(record: Record) -> Protocol:
    """The protocol of one of our own records."""
    result, tasks = record.result, record.result.tasks
    parts = [part for part in str(result.mode).split(", ") if part not in (BATCH_NORM, DROPPED)]
    dropped = result.mode.unlabeled_dropped
    return Protocol(
        data=record.benchmark,
        split=_split(tasks.get("split")),
        way=_text(tasks.get("way")),
        shot=_text(tasks.get("shot")),
        mode=", ".join(parts),
        batch_norm="test batch" if result.mode.transductive_bn else "running",
        query=query_name(str(tasks.get("query", UNKNOWN))),
        backbone=backbone(result.model.get("encoder")),
        assumes=record.assumes,
        selected_on=_selected(result.model.get("selected_on")),
        unlabeled="0" if dropped else _text(tasks.get("unlabeled", 0)),
        labeled_ratio=_text(tasks.get("labeled_ratio", 1.0)),
        distractors="0" if dropped else _text(tasks.get("distractors", 0)),
        label_noise=_text(tasks.get("label_noise", 0.0)),
        within_groups=_text(tasks.get("within_groups", False)),
        tasks=len(result.per_task),
    )


def of_figure(figure: Figure) -> Protocol:
    """The protocol of a published figure."""
    within = figure.benchmark.endswith(("-within", "-minimal"))
    return Protocol(
        data=figure.benchmark,
        split=figure.split or "test",
        way=str(figure.way),
        shot=str(figure.shot),
        mode=figure.mode,
        batch_norm=figure.batch_norm,
        query=query_name(figure.query),
        backbone=figure.backbone,
        assumes=figure.assumes,
        selected_on=figure.selected_on,
        unlabeled=str(figure.unlabeled),
        labeled_ratio=_text(figure.labeled_ratio),
        distractors=str(figure.distractors),
        label_noise="0",
        within_groups=_text(within),
        tasks=figure.tasks,
        unlike=figure.unlike,
    )


def differences(a: Protocol, b: Protocol) -> tuple[str, ...]:
    """Everything in which `b` (here) is not as `a` (there), in words: "way: 20 there, 5 here"."""
    return moving(a, b) + _told(a, b, _still(a, b))


def moving(a: Protocol, b: Protocol) -> tuple[str, ...]:
    """The differences that move the accuracy itself; where there are none, a difference of the figures means something.

    Not known counts as different. How queries are drawn counts where one of the two looks at other queries; it moves
    no mean where each is answered alone. The number of tasks, and a last checkpoint against a validated one, move
    intervals alone.
    """
    still = _still(a, b)
    names = [
        field.name for field in dataclasses.fields(Protocol) if field.name not in (*still, "unlike")
    ]
    others = tuple(f"{text} (there)" for text in a.unlike if text not in b.unlike)
    own = tuple(f"{text} (here)" for text in b.unlike if text not in a.unlike)
    return _told(a, b, names) + others + own


def marks(a: Record, b: Record) -> tuple[str, ...]:
    """What a comparison of two of our own rows has to say beside it: modes or assumptions that differ.

    Raises:
        ValueError: they are of different tasks; no difference between them means anything.
    """
    if a.result.tasks != b.result.tasks or len(a.result.per_task) != len(b.result.per_task):
        raise ValueError(
            f"{a.row} is of {len(a.result.per_task)} tasks {dict(a.result.tasks)}, {b.row} of "
            f"{len(b.result.per_task)} of {dict(b.result.tasks)}; only the same tasks can be compared"
        )
    return _told(
        of_record(a), of_record(b), ["mode", "batch_norm", "assumes", "unlabeled", "selected_on"]
    )


def backbone(encoder: object) -> str:
    """The name that papers give to what a recipe builds: conv4-64; "unknown" where there is no recipe."""
    if not isinstance(encoder, Mapping):
        return UNKNOWN
    name, arguments = str(encoder.get("name", UNKNOWN)), dict(encoder.get("arguments") or {})
    if name in ("affine_tta", "flip_tta"):
        return f"{backbone(arguments.get('encoder'))}, {name} copies"
    if name == "pca":
        return f"{backbone(arguments.get('encoder'))}, {arguments.get('components')} principal components"
    if name == "concat":
        counts = Counter(map(backbone, arguments.get("encoders") or [None]))
        return " and ".join(
            name if count == 1 else f"{count} × {name}" for name, count in counts.items()
        )
    if name in ("conv4", "relation_conv"):
        return f"{name.replace('_', '-')}-{arguments.get('width', 64)}"
    return _BACKBONES.get(name, name.replace("_", "-"))


def query_name(form: str) -> str:
    """One name for one draw: "15" and "balanced(15)" are both `balanced(15)`; words that no grammar reads stay."""
    try:
        return str(parse_queries(form))
    except ValueError:
        return form


def query_words(name: str) -> str:
    """How a draw's name reads in a sentence: `balanced(15)` is "15 queries per class"."""
    if name == UNKNOWN:
        return "queries not known"
    for pattern, words in _DRAWS:
        found = re.fullmatch(pattern, name)
        if found:
            return found.expand(words).replace(".0)", ")")
    return name if "quer" in name else f"queries: {name}"


def _still(a: Protocol, b: Protocol) -> list[str]:
    alone = all(p.batch_norm == "running" and p.mode.endswith("inductive") for p in (a, b))
    kept = {a.selected_on, b.selected_on} <= {"validation", "nothing"}
    return ["tasks", *(["query"] if alone else []), *(["selected_on"] if kept else [])]


def _told(a: Protocol, b: Protocol, names: list[str]) -> tuple[str, ...]:
    out = []
    for name in names:
        there, here = getattr(a, name), getattr(b, name)
        label = "" if name == "query" else f"{_NAMES.get(name, name)}: "
        if there != here:
            out.append(f"{label}{_shown(name, there)} there, {_shown(name, here)} here")
        elif there == UNKNOWN:
            out.append(f"{label}{_shown(name, there)} in both")
    return tuple(out)


def _shown(name: str, value: Any) -> str:
    if name == "query":
        return query_words(value)
    if name == "split" and value == "test":
        return "the benchmark's own"
    return (
        "not known"
        if value in (None, UNKNOWN)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return "-".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _split(split: object) -> str:
    return "test" if split in TEST_SPLITS else str(split)


def _selected(place: object) -> str:
    if place is None:
        return "nothing"
    return "test" if str(place).rpartition("/")[2] in TEST_SPLITS else "validation"
