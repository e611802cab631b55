"""Checkpoints on the same tasks: rows of a table, and the report that is written."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import SupportsIndex

from torch import Tensor

from graphfew._utils.model_spec import JSON
from graphfew.core.episode import Episode
from graphfew.data import Tasks
from graphfew.evaluation.accuracy import Result, evaluate
from graphfew.evaluation.comparison import Comparison, compare_results
from graphfew.nn.method import GraphMethod
from graphfew.runs.build import look
from graphfew.runs.factory import check_mode
from graphfew.runs.run_dir import versions

Show = Callable[[str, int], None]


class CountedTasks:
    """Tasks that count the queries which were asked of them."""

    def __init__(self, tasks: Tasks) -> None:
        self.tasks = tasks
        self.queries = 0

    def batch(self, indices: Iterable[SupportsIndex]) -> tuple[Episode, Tensor]:
        """As the tasks give it."""
        episode, target = self.tasks.batch(indices)
        self.queries += len(target)
        return episode, target

    def describe(self) -> Mapping[str, JSON]:
        """As the tasks say."""
        return self.tasks.describe()


@dataclasses.dataclass(frozen=True)
class EvaluationRow:
    """One checkpoint on one draw of tasks.

    Shapes:
        name: of the checkpoint.
        decisions: queries answered, over all tasks.
        comparison: with the first checkpoint on the same tasks; None for the first itself.
    """

    name: str
    decisions: int
    result: Result
    comparison: Comparison | None


def evaluate_model(
    models: Sequence[tuple[str, GraphMethod]],
    draws: Sequence[Tasks],
    n: int,
    batch: int,
    show: Show = lambda what, done: None,
) -> Iterator[EvaluationRow]:
    """A row for each draw and each model, tasks `0 .. n-1`.

    Args:
        models: each with its name.
        draws: task sources.
        n, batch: number of tasks, and how many are encoded together.
        show: called with what is being done and the number of tasks done in all.

    Raises:
        ValueError: a model refuses the tasks; before any evaluation where its first task tells.
        ContractError: a model breaks the evaluation contract.
    """
    for tasks in draws:
        for _, model in models:
            look(model, tasks)
    done = 0
    for tasks in draws:
        first: Result | None = None
        for name, model in models:
            counted = CountedTasks(tasks)
            result = evaluate(
                model, counted, n, batch=batch, progress=partial(_shifted, show, name, done)
            )
            yield EvaluationRow(
                name,
                counted.queries,
                result,
                None if first is None else compare_results(result, first),
            )
            first = first or result
            done += n


def _shifted(show: Show, name: str, base: int, done: int) -> None:
    show(name, base + done)


def in_mode(
    model: GraphMethod, transductive: bool | None, *, unlabeled: bool = True
) -> GraphMethod:
    """The model, set to the other mode where asked; its recipe then says the new mode, its provenance the trained one.
    Without `unlabeled` it drops unlabeled nodes.

    Raises:
        ValueError: the method does not have that mode.
    """
    if not unlabeled:
        model = model.in_mode(unlabeled=False)
    if transductive is None or model.spec is None:
        return model
    check_mode(model.spec.name, transductive)
    return model if transductive == model.transductive else model.in_mode(transductive=transductive)


def report(command: str, rows: Sequence[EvaluationRow]) -> dict[str, JSON]:
    """Command, versions, every result with every task's accuracy, and the paired differences."""
    return {
        "command": command,
        "versions": versions(),
        "results": [_result(row) for row in rows],
        "comparisons": [
            _comparison(row.name, row.comparison, rows[0].name) for row in rows if row.comparison
        ],
    }


def column_widths(arguments: Sequence[str]) -> str:
    """The command line, absolute paths cut to their last two parts."""
    return shlex.join(["graphfew", *map(_short, arguments)])


def _short(argument: str) -> str:
    """A path may stand alone, after `--out=` or after `--root=omniglot=`."""
    starts = (0, *(place + 1 for place, character in enumerate(argument) if character == "="))
    for start in starts:
        path = Path(argument[start:])
        if path.is_absolute():
            return argument[:start] + "/".join(path.parts[1:][-2:])
    return argument


def _result(row: EvaluationRow) -> dict[str, JSON]:
    return {"checkpoint": row.name, "decisions": row.decisions, **row.result.to_json()}


def _comparison(name: str, gap: Comparison, first: str) -> dict[str, JSON]:
    return {
        "a": name,
        "b": first,
        "tasks": gap.a.tasks,
        "difference": gap.difference,
        "half_width": gap.half_width,
        "p_value": gap.p_value,
    }
