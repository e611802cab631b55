"""`BenchmarkRecord`: one line of a results file, with everything that determined the result."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Gt
from pydantic import ConfigDict, TypeAdapter, ValidationError

from graphfew._utils.atomic_io import append_text
from graphfew._utils.model_spec import JSON
from graphfew.benchmark.format_1 import from_format_1, row_from_format_1
from graphfew.benchmark.spec_fields import format_location
from graphfew.errors import DatasetError
from graphfew.evaluation import EvaluationMode, Result

FORMAT = 2
MAX_REASON = 500


@dataclasses.dataclass(frozen=True)
class BenchmarkRecord:
    """The result of one experiment.

    Attributes:
        benchmark: name of the spec.
        row: name of the method in tables.
        seed: of the training; None if nothing was trained.
        assumes: the class balance that the method assumes: "nothing" or "balanced".
        key: hash of the experiment; an experiment whose key is in the file is not run again.
        spec_hash: SHA-256 of the spec's file.
        commit: of the checkout that holds the package, with "+" if it had changes; None if the
            package is installed.
        versions: of Python and the relevant packages, and the number of threads.
        machine: name of the processor or accelerator.
        result: accuracy of every task and the evaluation protocol.
        n_queries: number of classified queries over all tasks.
        seconds: duration of the evaluation.
        training: name, method, seconds, device, tasks and steps of each training, in order.
        peak_memory: bytes used by the process, or on the accelerator; None if not available.
        command: the command line.
        time: of writing, ISO 8601, UTC.
        metrics: other measurements by name, such as the AUROC of out-of-scope items.
    """

    # JSON has no NaN: a record with one could be written but not read again.
    # An unknown field could be a setting that makes two results incomparable.
    __pydantic_config__ = ConfigDict(allow_inf_nan=False, extra="forbid")

    benchmark: str
    row: str
    seed: int | None
    assumes: str
    key: str
    spec_hash: str
    commit: str | None
    versions: Mapping[str, JSON]
    machine: str
    result: Result
    n_queries: int
    seconds: Annotated[float, Gt(0)]
    training: tuple[Mapping[str, JSON], ...]
    peak_memory: int | None
    command: str
    time: str
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def tasks_per_second(self) -> float:
        """Number of tasks evaluated per second."""
        return len(self.result.per_task) / self.seconds

    def to_line(self) -> str:
        """Return the record as a line of JSON, including the line break."""
        content = {"format": FORMAT, **dataclasses.asdict(self), "result": self.result.to_json()}
        return json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> BenchmarkRecord:
        """Return a record from the values of a line, of any format up to the current one.

        Raises:
            DatasetError: a newer format, or a field that is missing, unknown or invalid.
        """
        fields = dict(content)
        # A newer format is an error even if all fields match: their meaning may have changed.
        number = fields.pop("format", None)
        if not isinstance(number, int) or number > FORMAT:
            raise DatasetError(
                f"format is {number!r}; this version of graphfew reads up to {FORMAT}"
            )
        # Upgraded before validation, so that a single schema describes all records.
        if number < 2:
            fields = _upgrade_format_1(fields)
        result = fields.get("result")
        if isinstance(result, dict) and isinstance(result.get("mode"), str):
            # The file has the mode in words; the schema validates the fields of the dataclass.
            mode = EvaluationMode.parse(result["mode"])
            fields["result"] = {**result, "mode": dataclasses.asdict(mode)}
        try:
            # JSON mode is strict about types, but reads lists as tuples.
            record = _ADAPTER.validate_json(json.dumps(fields), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            reason = f"{format_location(first['loc'])}: {first['msg']}"
            raise DatasetError(f"not a benchmark record ({reason[:MAX_REASON]})") from error
        # The interval of every report needs a standard deviation over tasks.
        if len(record.result.per_task) < 2:
            raise DatasetError("not a benchmark record (result.per_task has fewer than 2 values)")
        return record


@dataclasses.dataclass(frozen=True)
class UnreadableLine:
    """A line of a results file that cannot be read, and the reason."""

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.reason}; the line is ignored"


def append_record(path: Path, record: BenchmarkRecord) -> None:
    """Append a record to a results file; end a truncated last line first."""
    start = ""
    if path.is_file() and path.stat().st_size > 0:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            # A process that was killed while it wrote leaves half a line. Appending to it would
            # make the new record unreadable as well.
            start = "" if file.read(1) == b"\n" else "\n"
    append_text(path, start + record.to_line())


def read_records(path: Path) -> tuple[tuple[BenchmarkRecord, ...], tuple[UnreadableLine, ...]]:
    """Return the records of a results file in order, and the lines that cannot be read.

    A file that does not exist has no records.
    """
    records: list[BenchmarkRecord] = []
    unreadable: list[UnreadableLine] = []
    if not path.is_file():
        return (), ()
    # Bytes: a line that is not UTF-8 must not make the other records unreadable.
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                content = json.loads(line.decode("utf-8").strip())
                if not isinstance(content, dict):
                    raise DatasetError(f"expected a JSON object, got a {type(content).__name__}")
                records.append(BenchmarkRecord.from_json(content))
            # The parser recurses, so deep nesting is a fault of the line like any other.
            except (ValueError, RecursionError) as error:
                # Messages may quote the whole line, which has thousands of accuracies.
                unreadable.append(UnreadableLine(path, number, str(error)[:MAX_REASON]))
    return tuple(records), tuple(unreadable)


def _upgrade_format_1(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the fields and values of format 1."""
    upgraded = dict(fields)
    for old, new in (("decisions", "n_queries"), ("figures", "metrics")):
        if old in upgraded:
            upgraded[new] = upgraded.pop(old)
    if upgraded.get("assumes") == "even":
        upgraded["assumes"] = "balanced"
    for name in ("benchmark", "result", "training"):
        if name in upgraded:
            upgraded[name] = from_format_1(upgraded[name])
    if isinstance(upgraded.get("row"), str):
        upgraded["row"] = row_from_format_1(upgraded["row"])
    return upgraded


_ADAPTER = TypeAdapter(BenchmarkRecord)
