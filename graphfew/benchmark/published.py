"""`PublishedResult`: a published accuracy and its protocol, read from a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from graphfew.benchmark.spec_fields import Count, Entries, SpecError, SpecModel, validate
from graphfew.benchmark.toml_file import read_toml
from graphfew.evaluation import EvaluationMode


def _parse_mode(value: object) -> object:
    return EvaluationMode.parse(value) if isinstance(value, str) else value


def _to_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class PublishedResult(SpecModel):
    """One published accuracy and the protocol behind it.

    Attributes:
        benchmark: name of the spec that it belongs to.
        method: name in the registry, or any other if the library does not have the method.
        label: shown in reports.
        value, interval: accuracy and half of its 95 % interval, in percent.
        backbone: as `backbone_name` names it, such as conv4-64.
        mode: inductive or transductive, after "semi-supervised, " if it uses unlabeled items.
        batch_norm: "running" statistics, those of the "test batch", or "unknown".
        query: in the form that `parse_queries` reads, else in words.
        source: author, year, table.
        tag: how it is known: C code, P paper, R a README or another paper, I issue, X measured,
            M from memory.
        selected_on: what selected the checkpoint.
        assumes: the class balance of the queries that the method assumes.
        split: in words, if it is not that of the benchmark.
        tasks: number of test tasks.
        unlabeled, labeled_ratio, distractors: settings of the tasks.
        caveat: what else a reader should know.
        unlike: other reasons why the accuracy is not comparable.
    """

    benchmark: str
    method: str
    label: str
    way: int = Field(ge=2)
    shot: int = Field(ge=1)
    value: float = Field(ge=0, le=100)
    backbone: str
    mode: Annotated[EvaluationMode, BeforeValidator(_parse_mode)]
    batch_norm: Literal["running", "test batch", "unknown"]
    query: str
    source: str
    tag: Literal["C", "P", "R", "I", "X", "M"]
    selected_on: Literal["validation", "test", "nothing", "unknown"] = "unknown"
    assumes: Literal["nothing", "balanced", "unknown"] = "nothing"
    split: str = ""
    interval: Annotated[float, Field(ge=0)] | None = None
    tasks: Annotated[int, Field(ge=1)] | None = None
    unlabeled: Count = 0
    labeled_ratio: float = Field(default=1.0, ge=0)
    distractors: Count = 0
    caveat: str = ""
    unlike: Annotated[tuple[str, ...], BeforeValidator(_to_tuple)] = ()

    def __str__(self) -> str:
        interval = "" if self.interval is None else f" ± {self.interval}"
        return f"{self.value}{interval}"


class PublishedFile(SpecModel):
    """A file of `[[result]]` entries."""

    results: Entries[PublishedResult] = Field(alias="result")


def read_published_results(path: Path) -> tuple[PublishedResult, ...]:
    """Return the published results of a file, in order.

    Raises:
        MissingFileError: the file does not exist.
        ConfigurationError: the file is not TOML; if an entry is invalid, or occurs twice, it is a
            `SpecError` that names the key.
    """
    results = validate(PublishedFile, path, read_toml(path)).results
    first_entries: dict[PublishedResult, int] = {}
    for index, result in enumerate(results):
        # Without the values: two values for one setting mean that one of them was copied
        # wrongly.
        facts = result.model_copy(update={"value": 0.0, "interval": None, "caveat": ""})
        first = first_entries.setdefault(facts, index)
        if first != index:
            raise SpecError(
                path,
                ("result", index),
                f"{result.label}, {result.way}-way {result.shot}-shot of {result.source} is also "
                f"result[{first}]; remove one",
            )
    return results
