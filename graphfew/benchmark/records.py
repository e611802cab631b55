"""`Record`: one line of a results file, with all that its figure hangs on."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graphfew._utils.atomic_io import append_text
from graphfew._utils.model_spec import JSON
from graphfew.evaluation import EvaluationMode, Result

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Record:
    """One cell of a benchmark: a row, in a mode, on one kind of tasks, from one training seed.

    Shapes:
        benchmark: the name of its spec.
        row: what tables call the method.
        seed: of the training; None where nothing was trained.
        assumes: what the method was told of how queries are divided among classes: "nothing" or "even".
        key: a hash of everything that the cell's figure hangs on; a cell whose key is there is not run again.
        spec_hash: SHA-256 of the spec's file.
        commit: of the working tree that ran it, with "+" where it had changes; None outside a repository.
        versions: of Python and the packages that matter, and the number of threads.
        machine: processor or accelerator, in words.
        result: accuracies of every task and what they hang on, as `evaluate` gave it.
        decisions: queries answered, over all tasks.
        seconds: that the evaluation took.
        training: method, seconds, device, tasks and steps of each training behind the checkpoint, the last one last.
        peak_memory: bytes, of the process while it evaluated (of the accelerator where it ran on one); None where the
            system does not tell.
        command: that made it.
        figures: what else was measured, by name, such as the AUROC of items of no class.
        time: when it was written, ISO 8601, UTC.
    """

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
    decisions: int
    seconds: float
    training: tuple[Mapping[str, JSON], ...]
    peak_memory: int | None
    command: str
    time: str
    figures: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def tasks_per_second(self) -> float:
        """Tasks evaluated per second."""
        return len(self.result.per_task) / self.seconds

    def to_line(self) -> str:
        """The record as one line of JSON, its line break included."""
        content = {"format": FORMAT, **dataclasses.asdict(self), "result": self.result.to_json()}
        return json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n"

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Record:
        """From the values of a line.

        Raises:
            ValueError: a field that is missing, unknown or of another type, or a newer format.
        """
        fields = dict(content)
        number = fields.pop("format", None)
        if not isinstance(number, int) or number > FORMAT:
            raise ValueError(f"format is {number!r}; this graphfew reads up to {FORMAT}")
        try:
            result = Result(
                **{
                    **fields.pop("result"),
                    "per_task": tuple(map(float, content["result"]["per_task"])),
                    "mode": _mode(content["result"]["mode"]),
                }
            )
            training = tuple(dict(part) for part in fields.pop("training"))
            record = cls(result=result, training=training, **fields)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"no record of a benchmark ({str(error)[:500]})") from error
        wrong = next(_wrong(record), None)
        if wrong is not None:
            raise ValueError(f"no record of a benchmark ({wrong} is not what it should be)")
        return record


def _mode(text: object) -> EvaluationMode | None:
    return (
        EvaluationMode.parse(text.replace("unlabelled", "unlabeled"))
        if isinstance(text, str)
        else None
    )


def _wrong(record: Record) -> Iterator[str]:
    """The names of fields that hold something else than they are to."""
    result = record.result
    texts = ("benchmark", "row", "assumes", "key", "spec_hash", "machine", "command", "time")
    yield from (name for name in texts if not isinstance(getattr(record, name), str))
    yield from (
        name
        for name, own, kind in (
            ("mode", result.mode, EvaluationMode),
            ("device", result.device, str),
        )
        if not isinstance(own, kind)
    )
    maps = {
        "versions": record.versions,
        "figures": record.figures,
        "tasks": result.tasks,
        "model": result.model,
    }
    yield from (name for name, own in maps.items() if not isinstance(own, Mapping))
    numbers = {"mean": result.mean, "half_width": result.half_width, "seconds": record.seconds}
    yield from (name for name, own in numbers.items() if not _is_number(own))
    if len(result.per_task) < 2 or not all(map(math.isfinite, result.per_task)):
        yield "per_task"
    whole = {"seed": record.seed, "peak_memory": record.peak_memory, "decisions": record.decisions}
    yield from (
        name
        for name, own in whole.items()
        if type(own) is not int and not (own is None and name != "decisions")
    )
    if not isinstance(record.commit, str | None):
        yield "commit"
    if not (result.calibration_error is None or _is_number(result.calibration_error)):
        yield "calibration_error"
    if not all(map(_is_number, record.figures.values())):
        yield "figures"
    if not record.seconds > 0:
        yield "seconds"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclasses.dataclass(frozen=True)
class Fault:
    """A line of a results file that could not be read, and why."""

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.reason}; the line is left out"


def append(path: Path, record: Record) -> None:
    """Add a record to the end of a results file; folders are made, and a line that was cut short is ended first.

    Raises:
        Unwritten: an `OSError`: there is no room, or no right to write there; the file is as it was.
    """
    cut = path.is_file() and path.stat().st_size > 0 and not _ends_line(path)
    append_text(path, ("\n" if cut else "") + record.to_line())


def read(path: Path) -> tuple[tuple[Record, ...], tuple[Fault, ...]]:
    """The records of a results file in order, and the lines that could not be read. No file has no records."""
    records: list[Record] = []
    faults: list[Fault] = []
    if not path.is_file():
        return (), ()
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                content = json.loads(line.decode("utf-8").strip())
                if not isinstance(content, dict):
                    raise ValueError(f"a JSON {type(content).__name__} where an object belongs")
                records.append(Record.of(content))
            except (ValueError, RecursionError) as error:
                faults.append(Fault(path, number, str(error)[:500]))
    return tuple(records), tuple(faults)


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
