"""Evaluation of checkpoints on the same tasks: rows of a table, and the report as JSON."""

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
from graphfew.data import DrawerRuns, Tasks
from graphfew.data.class_overlap import share_classes
from graphfew.errors import ConfigurationError
from graphfew.evaluation.accuracy import Result, evaluate
from graphfew.evaluation.comparison import Comparison, compare_results
from graphfew.nn.method import GraphMethod
from graphfew.runs.build import check_forward
from graphfew.runs.environment import versions
from graphfew.runs.factory import check_mode

EvaluationTasks = Tasks | DrawerRuns
OnProgress = Callable[[str, int], None]


class QueryCounter:
    """Tasks that count their queries.

    Args:
        tasks: the tasks.

    Attributes:
        n_queries: number of queries of all tasks drawn so far.

    Example:
        >>> import graphfew as gf
        >>> from graphfew.runs.evaluation import QueryCounter
        >>> tasks = QueryCounter(gf.Tasks(gf.data.digits(), way=3, query=2))
        >>> _ = tasks.batch(range(4))
        >>> tasks.n_queries
        24
    """

    def __init__(self, tasks: EvaluationTasks) -> None:
        self.tasks = tasks
        self.n_queries = 0

    def batch(self, indices: Iterable[SupportsIndex]) -> tuple[Episode, Tensor]:
        """Return the batch of the tasks."""
        episode, target = self.tasks.batch(indices)
        self.n_queries += len(target)
        return episode, target

    def describe(self) -> Mapping[str, JSON]:
        """Return the description of the tasks."""
        return self.tasks.describe()


@dataclasses.dataclass(frozen=True)
class EvaluationRow:
    """One checkpoint on one set of tasks.

    Attributes:
        name: name of the checkpoint.
        n_queries: number of queries of all tasks.
        result: the accuracy.
        comparison: comparison with the first checkpoint on the same tasks; None for the first.
    """

    name: str
    n_queries: int
    result: Result
    comparison: Comparison | None


def evaluate_checkpoints(
    models: Sequence[tuple[str, GraphMethod]],
    task_sets: Sequence[EvaluationTasks],
    n: int,
    batch: int,
    on_progress: OnProgress = lambda name, completed: None,
    *,
    allow_seen_classes: bool = False,
) -> Iterator[EvaluationRow]:
    """Evaluate each model on the first `n` tasks of each set.

    Args:
        models: names and models.
        task_sets: sets of tasks.
        n: number of tasks.
        batch: number of tasks that are encoded together.
        on_progress: called with the name of the model and the total number of completed tasks.
        allow_seen_classes: evaluate models also on classes that they were trained on.

    Returns:
        An iterator of rows: for each set of tasks, one per model.

    Raises:
        ConfigurationError: if a model was trained on classes of the tasks.
        ValueError: if a model rejects the tasks; for the first task, before any evaluation.
        ContractError: if a model violates the evaluation contract.

    Example:
        >>> import graphfew as gf
        >>> from graphfew.runs import evaluate_checkpoints
        >>> model = gf.create("prototypical", encoder=gf.backbones.conv4(width=4))
        >>> tasks = gf.Tasks(gf.data.digits(), way=3, query=2)
        >>> [row.n_queries for row in evaluate_checkpoints([("untrained", model)], [tasks], 4, 2)]
        [24]
    """
    # All checks come before the first evaluation, which may take hours.
    for tasks in task_sets:
        for name, model in models:
            if not allow_seen_classes:
                check_unseen_classes(name, model, tasks)
            check_forward(model, tasks)
    completed = 0
    for tasks in task_sets:
        first: Result | None = None
        for name, model in models:
            counter = QueryCounter(tasks)
            # `evaluate` counts from 0 for each model; the display counts over all of them.
            progress = partial(_report_progress, on_progress, name, completed)
            result = evaluate(model, counter, n, batch=batch, progress=progress)
            # The first model of a task set is the baseline of the others.
            comparison = None if first is None else compare_results(result, first)
            yield EvaluationRow(name, counter.n_queries, result, comparison)
            # `or` is a test for None only: Result defines neither `__bool__` nor `__len__`.
            first = first or result
            completed += n


def _report_progress(on_progress: OnProgress, name: str, before: int, completed: int) -> None:
    on_progress(name, before + completed)


def check_unseen_classes(name: str, model: GraphMethod, tasks: EvaluationTasks) -> None:
    """Check that a model was not trained on the classes of the tasks, as far as is known.

    Args:
        name: name of the model, for the message.
        model: its provenance has the split that it, and its initial encoder, were trained on.
        tasks: the tasks.

    Raises:
        ConfigurationError: if it was.

    Example:
        >>> import graphfew as gf
        >>> from graphfew.runs.evaluation import check_unseen_classes
        >>> model = gf.load("egnn-omniglot")
        >>> check_unseen_classes("egnn", model, gf.Tasks(gf.data.glyphs("test")))
    """
    description = tasks.describe()
    evaluated_on = f"{description['data']}/{description['split']}"
    for trained_on in _training_splits(model.provenance):
        if share_classes(trained_on, evaluated_on):
            raise ConfigurationError(
                f"{name} was trained on {trained_on}, which shares classes with {evaluated_on}; "
                "its accuracy there is not that of new classes. Evaluate on another split, or pass "
                "--allow-seen-classes (allow_seen_classes=True)",
                key="split",
            )


def _training_splits(provenance: object) -> Iterator[str]:
    """The splits that a model and its initial encoders were trained on."""
    # Features of several encoders may be concatenated.
    if isinstance(provenance, list | tuple):
        for part in provenance:
            yield from _training_splits(part)
    if isinstance(provenance, Mapping):
        if provenance.get("trained_on"):
            yield str(provenance["trained_on"])
        # A pretrained encoder has its own provenance, which may name another encoder in turn.
        yield from _training_splits(provenance.get("init_encoder"))


def set_mode(
    model: GraphMethod, transductive: bool | None, *, unlabeled: bool = True
) -> GraphMethod:
    """Return a model in another evaluation mode; weights are shared.

    The spec of the result has the new mode, its provenance the one that it was trained in.

    Args:
        model: the model.
        transductive: predict all queries of a task jointly; None keeps the mode.
        unlabeled: False drops unlabeled items.

    Returns:
        The model in that mode; `model` itself if nothing changes.

    Raises:
        ConfigurationError: if the method does not have the mode.

    Example:
        >>> import graphfew as gf
        >>> from graphfew.runs.evaluation import set_mode
        >>> set_mode(gf.load("egnn-omniglot"), transductive=False).transductive
        False
    """
    if not unlabeled:
        model = model.in_mode(unlabeled=False)
    if transductive is None or model.spec is None:
        return model
    check_mode(model.spec.name, transductive)
    if transductive == model.transductive:
        return model
    return model.in_mode(transductive=transductive)


def report(command: str, rows: Sequence[EvaluationRow]) -> dict[str, JSON]:
    """Collect results as JSON values.

    Args:
        command: the command line.
        rows: the results.

    Returns:
        The command, versions, each result with the accuracy of each task, and paired differences.
    """
    results: list[JSON] = []
    comparisons: list[JSON] = []
    for row in rows:
        # Earlier reports have these keys too, such as `decisions` for the number of queries.
        results.append({"checkpoint": row.name, "decisions": row.n_queries, **row.result.to_json()})
        if row.comparison is not None:
            # Every task set has the same first checkpoint, so `rows[0]` names the baseline of all.
            comparisons.append(_comparison_to_json(row.name, row.comparison, rows[0].name))
    return {
        "command": command,
        "versions": versions(),
        "results": results,
        "comparisons": comparisons,
    }


def _comparison_to_json(name: str, comparison: Comparison, first: str) -> dict[str, JSON]:
    """A comparison of checkpoint `name` with the first one."""
    return {
        "a": name,
        "b": first,
        "tasks": dict(comparison.a.tasks),
        "difference": comparison.difference,
        "half_width": comparison.half_width,
        "p_value": comparison.p_value,
    }


def portable_command(arguments: Sequence[str]) -> str:
    """Format a command line, with absolute paths cut to their last two parts.

    Args:
        arguments: arguments of `graphfew`.

    Returns:
        The command, without folders of this computer.

    Example:
        >>> from graphfew.runs.evaluation import portable_command
        >>> portable_command(["evaluate", "/home/me/runs/egnn", "--out=/tmp/a/b.json"])
        'graphfew evaluate runs/egnn --out=a/b.json'
    """
    return shlex.join(["graphfew", *map(_shorten_path, arguments)])


def _shorten_path(argument: str) -> str:
    """Shorten a path that is the argument, or follows `--out=` or `--root=omniglot=`."""
    starts = [0]
    for position, character in enumerate(argument):
        if character == "=":
            starts.append(position + 1)
    for start in starts:
        path = Path(argument[start:])
        if path.is_absolute():
            return argument[:start] + "/".join(path.parts[1:][-2:])
    return argument
