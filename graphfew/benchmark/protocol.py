"""The protocol behind an accuracy, and the differences that make two of them incomparable."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from graphfew._utils.model_spec import JSON
from graphfew.benchmark.published import PublishedResult
from graphfew.benchmark.records import BenchmarkRecord
from graphfew.data.catalog import TEST_SPLITS
from graphfew.data.query_text import parse_queries
from graphfew.errors import InvalidInputError
from graphfew.evaluation import EvaluationMode

UNKNOWN = "unknown"
# The settings that tasks differ in besides their queries, and what records without them had.
TASK_DEFAULTS: Mapping[str, JSON] = {
    "way": None,
    "shot": None,
    "unlabeled": 0,
    "labeled_ratio": 1.0,
    "distractors": 0,
    "label_noise": 0.0,
    "within_groups": False,
}
# How papers name what the library's factories build.
BACKBONE_NAMES = {
    "gnn_omniglot": "gnn-omniglot",
    "egnn_conv": "conv-64-96-128-256",
    "conv_text": "conv-text",
    "bilstm": "bilstm",
    "identity": "features",
    "resnet12": "resnet12",
    "resnet18": "resnet18",
    "wrn28_10": "wrn28-10",
}
QUERY_PHRASES = (
    (r"one-per-class", "1 query per class"),
    (r"single", "1 query"),
    (r"balanced\((.+)\)", r"\1 queries per class"),
    (r"dirichlet\((.+), (.+)\)", r"\2 queries, Dirichlet(\1)"),
    (r"multinomial\((.+)\)", r"\1 queries, multinomial"),
    (r"single-class\((.+)\)", r"\1 queries of one class"),
    (r"effective\(1, (.+)\)", r"\1 queries of one class"),
    (r"effective\((.+), (.+)\)", r"\2 queries of \1 classes"),
)
FIELD_LABELS = {
    "batch_norm": "batch norm statistics",
    "labeled_ratio": "fraction of shots with labels",
    "unlabeled": "unlabeled items per class",
    "distractors": "distractor classes",
    "label_noise": "label noise",
    "within_groups": "classes of one group",
    "assumes": "assumed class balance",
    "selected_on": "checkpoint selected on",
    "tasks": "test tasks",
}


@dataclasses.dataclass(frozen=True)
class EvaluationProtocol:
    """Everything that determines what an accuracy means, as text that can be compared.

    Attributes:
        data: name of the benchmark.
        split: "test", or a description.
        mode: inductive or transductive, after "semi-supervised, " if unlabeled items are used.
        batch_norm: "running", "test batch" or "unknown".
        query: name of a query sampler, such as "balanced(15)", a description, or "unknown".
        backbone: such as conv4-64.
        assumes: the class balance that the method assumes: "nothing", "balanced" or "unknown".
        selected_on: "validation", "test", "nothing" or "unknown".
        unlike: other reasons why the accuracy is not comparable.
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

    @classmethod
    def from_record(cls, record: BenchmarkRecord) -> EvaluationProtocol:
        """Return the protocol of a benchmark record."""
        result, mode = record.result, record.result.mode
        tasks = {**TASK_DEFAULTS, **result.tasks}
        if mode.unlabeled_dropped:
            tasks |= {"unlabeled": 0, "distractors": 0}
        sizes: dict[str, Any] = {name: _to_text(tasks[name]) for name in TASK_DEFAULTS}
        return cls(
            data=record.benchmark,
            split=_split_name(tasks.get("split")),
            mode=_mode_name(mode),
            batch_norm="test batch" if mode.transductive_bn else "running",
            query=query_name(str(tasks.get("query", UNKNOWN))),
            backbone=backbone_name(result.model.get("encoder")),
            assumes=record.assumes,
            selected_on=_selection_name(result.model.get("selected_on")),
            tasks=len(result.per_task),
            **sizes,
        )

    @classmethod
    def from_published(cls, result: PublishedResult) -> EvaluationProtocol:
        """Return the protocol of a published result."""
        return cls(
            data=result.benchmark,
            split=result.split or "test",
            way=str(result.way),
            shot=str(result.shot),
            mode=_mode_name(result.mode),
            batch_norm=result.batch_norm,
            query=query_name(result.query),
            backbone=result.backbone,
            assumes=result.assumes,
            selected_on=result.selected_on,
            unlabeled=str(result.unlabeled),
            labeled_ratio=_to_text(result.labeled_ratio),
            distractors=str(result.distractors),
            # Published results with noise say so in `unlike`, since its kind differs from paper to
            # paper.
            label_noise="0",
            # These benchmarks are defined by tasks within one alphabet.
            within_groups=_to_text(result.benchmark.endswith(("-within", "-minimal"))),
            tasks=result.tasks,
            unlike=result.unlike,
        )


def protocol_differences(
    published: EvaluationProtocol, ours: EvaluationProtocol
) -> tuple[str, ...]:
    """Return all differences in words: "way: 20 there, 5 here"."""
    minor = _describe(published, ours, _minor_fields(published, ours))
    return major_differences(published, ours) + minor


def major_differences(published: EvaluationProtocol, ours: EvaluationProtocol) -> tuple[str, ...]:
    """Return the differences that affect the accuracy itself, not only its interval.

    Without any, the difference of two accuracies is meaningful. Unknown counts as different.
    """
    minor = _minor_fields(published, ours)
    fields = [field.name for field in dataclasses.fields(EvaluationProtocol)]
    major = [name for name in fields if name not in (*minor, "unlike")]
    there = [f"{text} (there)" for text in published.unlike if text not in ours.unlike]
    here = [f"{text} (here)" for text in ours.unlike if text not in published.unlike]
    return (*_describe(published, ours, major), *there, *here)


def comparison_caveats(a: BenchmarkRecord, b: BenchmarkRecord) -> tuple[str, ...]:
    """Return differences in mode or assumptions that a comparison of two rows must mention.

    Raises:
        ValueError: the records are of different tasks.
    """
    if a.result.tasks != b.result.tasks or len(a.result.per_task) != len(b.result.per_task):
        raise InvalidInputError(
            f"only the same tasks can be compared; {a.row} has {len(a.result.per_task)} of "
            f"{dict(a.result.tasks)}, {b.row} has {len(b.result.per_task)} of "
            f"{dict(b.result.tasks)}"
        )
    fields = ("mode", "batch_norm", "assumes", "unlabeled", "selected_on")
    first, second = EvaluationProtocol.from_record(a), EvaluationProtocol.from_record(b)
    return _describe(first, second, fields)


def backbone_name(encoder: object) -> str:
    """Return the name that papers use for a model spec; "unknown" without a spec."""
    # Models without a spec come from user code.
    if not isinstance(encoder, Mapping):
        return UNKNOWN
    name = str(encoder.get("name", UNKNOWN))
    arguments = dict(encoder.get("arguments") or {})
    inner = arguments.get("encoder")
    if name == "affine_tta":
        # Test-time averaging raises the accuracy, so it is part of the name.
        return f"{backbone_name(inner)}, affine copies"
    if name == "flip_tta":
        return f"{backbone_name(inner)}, mirrored copies"
    if name == "pca":
        return f"{backbone_name(inner)}, {arguments.get('components')} principal components"
    if name == "concat":
        counts = Counter(backbone_name(part) for part in arguments.get("encoders") or [None])
        parts = [part if count == 1 else f"{count} × {part}" for part, count in counts.items()]
        return " and ".join(parts)
    if name in ("conv4", "relation_conv"):
        return f"{name.replace('_', '-')}-{arguments.get('width', 64)}"
    return BACKBONE_NAMES.get(name, name.replace("_", "-"))


def query_name(form: str) -> str:
    """Return one name per query sampler: "15" and "balanced(15)" are both `balanced(15)`.

    Descriptions that are not a query sampler stay as they are.
    """
    try:
        # Published results quote papers, so that not every description can be parsed.
        return str(parse_queries(form))
    except ValueError:
        return form


def query_phrase(name: str) -> str:
    """Return a query sampler's name as a phrase: "15 queries per class" for `balanced(15)`."""
    if name == UNKNOWN:
        return "queries not known"
    for pattern, phrase in QUERY_PHRASES:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(phrase).replace(".0)", ")")
    return name if "quer" in name else f"queries: {name}"


def _minor_fields(a: EvaluationProtocol, b: EvaluationProtocol) -> list[str]:
    """Fields that affect the interval only."""
    minor = ["tasks"]
    # A query that is classified alone does not depend on how the others are sampled.
    independent = [p.batch_norm == "running" and p.mode.endswith("inductive") for p in (a, b)]
    if all(independent):
        minor.append("query")
    # Selecting on the test split is the only kind that makes an accuracy too high.
    if {a.selected_on, b.selected_on} <= {"validation", "nothing"}:
        minor.append("selected_on")
    return minor


def _describe(
    a: EvaluationProtocol, b: EvaluationProtocol, fields: Iterable[str]
) -> tuple[str, ...]:
    described: list[str] = []
    for name in fields:
        there, here = getattr(a, name), getattr(b, name)
        label = "" if name == "query" else f"{FIELD_LABELS.get(name, name)}: "
        if there != here:
            described.append(f"{label}{_show(name, there)} there, {_show(name, here)} here")
        # Two unknown values may well differ.
        elif there == UNKNOWN:
            described.append(f"{label}{_show(name, there)} in both")
    return tuple(described)


def _show(name: str, value: Any) -> str:
    if name == "query":
        return query_phrase(value)
    if name == "split" and value == "test":
        return "the benchmark's own"
    if value in (None, UNKNOWN):
        return "not known"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _mode_name(mode: EvaluationMode) -> str:
    """The mode without what other fields of the protocol contain."""
    # Batch norm and dropped items have fields of their own.
    return str(EvaluationMode(mode.transductive, mode.unlabeled))


def _to_text(value: object) -> str:
    if isinstance(value, list | tuple):
        return "-".join(_to_text(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _split_name(split: object) -> str:
    return "test" if split in TEST_SPLITS else str(split)


def _selection_name(selected_on: object) -> str:
    if selected_on is None:
        return "nothing"
    split = str(selected_on).rpartition("/")[2]
    return "test" if split in TEST_SPLITS else "validation"
