"""`Figure`: a published accuracy with what it hangs on, read from `benchmarks/published.toml`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from graphfew.benchmark.toml import nearest, parsed

MODES = ("inductive", "transductive", "semi-supervised, inductive", "semi-supervised, transductive")
KNOWN_WORDS = {
    "mode": MODES,
    "batch_norm": ("running", "test batch", "unknown"),
    "selected_on": ("validation", "test", "nothing", "unknown"),
    "assumes": ("nothing", "even", "unknown"),
    "tag": ("C", "P", "R", "I", "X", "M"),
}


@dataclasses.dataclass(frozen=True)
class Figure:
    """One published accuracy and the protocol behind it.

    Shapes:
        benchmark: the name of the spec that it belongs to.
        method: the registry's name, or any where the library does not have the method.
        label: what the report calls it.
        value, interval: accuracy and half its 95 % interval, in per cent.
        backbone: as `protocol.backbone` names them, such as conv4-64.
        mode: inductive or transductive, "semi-supervised, " before it where unlabeled items are used.
        batch_norm: "running" statistics, those of the "test batch", or "unknown".
        query: in the grammar of `data.queries.parse` where it can be said so, else in words.
        source: author, year, table.
        tag: how it is known: C code, P paper, R a README or another paper, I issue, X measured, M from memory.
        selected_on: what chose the checkpoint.
        assumes: what the method is told of the queries' division: "nothing" or "even".
        split: in words, where it is not the benchmark's own.
        tasks: number of test tasks.
        unlabeled, labeled_ratio, distractors: as the tasks of the library have them.
        caveat: what else a reader should know.
        unlike: what else moves the figure and no other field says: no difference to it is ever shown as a number.
        line: where it stands in the file.
    """

    benchmark: str
    method: str
    label: str
    way: int
    shot: int
    value: float
    backbone: str
    mode: str
    batch_norm: str
    query: str
    source: str
    tag: str
    selected_on: str = "unknown"
    assumes: str = "nothing"
    split: str = ""
    interval: float | None = None
    tasks: int | None = None
    unlabeled: int = 0
    labeled_ratio: float = 1.0
    distractors: int = 0
    caveat: str = ""
    unlike: tuple[str, ...] = ()
    line: int = dataclasses.field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{float(self.value)}" + (
            f" ± {float(self.interval)}" if self.interval is not None else ""
        )


_FIELDS = {field.name: field for field in dataclasses.fields(Figure) if field.name != "line"}
_NEEDED = tuple(name for name, field in _FIELDS.items() if field.default is dataclasses.MISSING)
_KINDS: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "int | None": (int,),
    "float | None": (int, float),
    "tuple[str, ...]": (list,),
}


def read_figures(path: Path) -> tuple[Figure, ...]:
    """The figures of a file, in order.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no TOML, or an entry that is wrong; the message names the entry, its line and its key.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; give a file of published figures")
    try:
        text = path.read_text(encoding="utf-8")
        content = parsed(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no TOML ({str(error)[:500]})") from error
    entries = content.get("figure")
    if (
        set(content) != {"figure"}
        or not isinstance(entries, list)
        or not all(isinstance(e, dict) for e in entries)
    ):
        keys = ", ".join(sorted(content)[:8])
        raise ValueError(f"{path} has {keys[:500] or 'nothing'}; it needs [[figure]] entries alone")
    lines = [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if re.match(r"\s*\[\[\s*figure\s*\]\]", line)
    ]
    lines += [0] * (len(entries) - len(lines))
    figures = tuple(
        _figure(entry, line, f"{path}, entry {number} (line {line})")
        for number, (entry, line) in enumerate(zip(entries, lines, strict=False), 1)
    )
    _refuse_twice(figures, path)
    return figures


def _figure(entry: Mapping[str, Any], line: int, where: str) -> Figure:
    for name in entry:
        if name not in _FIELDS:
            raise ValueError(f"{where}: {name!r} is no key of a figure; {nearest(name, _FIELDS)}")
    missing = [name for name in _NEEDED if name not in entry]
    if missing:
        raise ValueError(f"{where}: {', '.join(missing)} missing")
    for name, value in entry.items():
        kinds = _KINDS[str(_FIELDS[name].type)]
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise ValueError(
                f"{where}: {name} is {value!r}; it must be of type {kinds[-1].__name__}"
            )
        if name in KNOWN_WORDS and value not in KNOWN_WORDS[name]:
            raise ValueError(f"{where}: {name} is {value!r}; known: {', '.join(KNOWN_WORDS[name])}")
    _check_numbers(entry, where)
    return Figure(**{**entry, "unlike": tuple(entry.get("unlike", ())), "line": line})


def _check_numbers(entry: Mapping[str, Any], where: str) -> None:
    if not 0 <= entry["value"] <= 100:
        raise ValueError(
            f"{where}: value is {entry['value']}; accuracies are in per cent, 0 to 100"
        )
    least = {
        "way": 2,
        "shot": 1,
        "tasks": 1,
        "unlabeled": 0,
        "distractors": 0,
        "interval": 0,
        "labeled_ratio": 0,
    }
    for name, bound in least.items():
        if entry.get(name, bound) < bound:
            raise ValueError(f"{where}: {name} is {entry[name]}; it must be at least {bound}")
    if not all(isinstance(text, str) for text in entry.get("unlike", ())):
        raise ValueError(f"{where}: unlike is {entry['unlike']!r}; it must be a list of texts")


def _refuse_twice(figures: Sequence[Figure], path: Path) -> None:
    seen: dict[Figure, int] = {}
    for figure in figures:
        same = dataclasses.replace(figure, value=0.0, interval=None, caveat="")
        if same in seen:
            raise ValueError(
                f"{path}, line {figure.line}: {figure.label}, {figure.way}-way {figure.shot}-shot of "
                f"{figure.source} stands in line {seen[same]} already; leave one out"
            )
        seen[same] = figure.line
