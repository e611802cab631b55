"""Confusion matrices of tasks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from graphfew.nn.method import MethodOutput

Names = Sequence[str] | Sequence[Sequence[str]]
IN_CELL = 24


def plot_confusion_matrix(
    answers: MethodOutput | Tensor,
    target: Tensor,
    *,
    queries: Sequence[int] | None = None,
    names: Names | None = None,
) -> Figure:
    """How often queries of each true class (row) were given each answer (column): a panel per task, or one of all.

    Cells show counts, and are as dark as their share of the row; the diagonal has a frame.

    Args:
        answers: of a model, logits `[Q, way]`, or the class answered `[Q]` int64.
        target: `[Q]` int64, the true class index inside the task.
        queries: of each task; those of the output's episode, or one task, where None.
        names: None draws a panel for each task, whose classes are A, B, C and so on. Names of the classes, the same for
            all tasks or a list for each task (of task `i` of `tasks` these are
            `[data.classes[c] for c in tasks.draw(i).classes]`), put all tasks in one panel, classes of one name
            together.

    Raises:
        ValueError: lengths that do not fit each other, or a class without a name.
    """
    given = answers.logits if isinstance(answers, MethodOutput) else answers
    said = given.argmax(1) if given.ndim == 2 else given
    if queries is None:
        queries = (
            answers.graphs[0].episode.n_queries
            if isinstance(answers, MethodOutput)
            else (len(said),)
        )
    if not len(said) == len(target) == sum(queries):
        raise ValueError(
            f"there are {len(said)} answers, {len(target)} targets and {sum(queries)} queries; give one "
            "of each per query"
        )
    parts = [tuple(torch.split(values.cpu(), list(queries))) for values in (target, said)]
    if names is not None:
        return _one_panel(parts[0], parts[1], names)
    if isinstance(answers, MethodOutput) and len(answers.graphs[0].episode.way) == len(queries):
        ways = list(answers.graphs[0].episode.way)
    else:
        ways = [1 + int(torch.cat([true, told]).max()) for true, told in zip(*parts, strict=True)]
    wide = min(len(queries), 4)
    figure = Figure(figsize=(3.3 * wide, 3.5 * -(-len(queries) // wide)), layout="constrained")
    axes = list(figure.subplots(-(-len(queries) // wide), wide, squeeze=False).flat)
    for task, (true, told, way) in enumerate(zip(*parts, ways, strict=True)):
        labels = [chr(ord("A") + c) if way <= 26 else str(c) for c in range(way)]
        _panel(axes[task], counts(true, told, way), labels)
        axes[task].set_title(_title(counts(true, told, way), f"task {task}: "))
    for ax in axes[len(queries) :]:
        ax.axis("off")
    return figure


def counts(target: Tensor, said: Tensor, way: int) -> Tensor:
    """`[way, way]` int64: queries of each true class (row) with each answer (column)."""
    return torch.bincount(target * way + said, minlength=way * way).view(way, way)


def _one_panel(target: Sequence[Tensor], said: Sequence[Tensor], names: Names) -> Figure:
    flat = [name for name in names if isinstance(name, str)]
    each = [flat] * len(target) if len(flat) == len(names) else [list(own) for own in names]
    if len(each) != len(target):
        raise ValueError(
            f"there are names for {len(each)} tasks, and {len(target)} tasks; give a list for each task"
        )
    order: dict[str, int] = {}
    for own in each:
        for name in own:
            order.setdefault(name, len(order))
    merged: list[list[Tensor]] = [[], []]
    for task, own in enumerate(each):
        place = torch.tensor([order[name] for name in own])
        for kept, values in zip(merged, (target[task], said[task]), strict=True):
            if len(values) and int(values.max()) >= len(own):
                raise ValueError(
                    f"task {task} has a class {int(values.max())} and names for {len(own)} classes; give "
                    "a name for each class, in the order of their indices"
                )
            kept.append(place[values])
    found = counts(torch.cat(merged[0]), torch.cat(merged[1]), len(order))
    side = 2.2 + 0.42 * len(order)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    ax = figure.subplots()
    _panel(ax, found, list(order))
    ax.set_title(_title(found, f"{len(target)} task{'s' * (len(target) > 1)}: "))
    return figure


def _panel(ax: Axes, found: Tensor, labels: Sequence[str]) -> None:
    way = len(labels)
    share = found / found.sum(1, keepdim=True).clamp_min(1)
    ax.imshow(share.numpy(), cmap="Blues", vmin=0, vmax=1)
    long = max(map(len, labels)) > 2
    ax.set_xticks(
        range(way),
        labels,
        rotation=60 if long else 0,
        ha="right" if long else "center",
        rotation_mode="anchor" if long else None,
        fontsize=9,
    )
    ax.set_yticks(range(way), labels, fontsize=9)
    ax.set(xlabel="answer", ylabel="true class")
    for row in range(way):
        ax.add_patch(_frame(row))
        for column in range(way):
            if way <= IN_CELL and found[row, column]:
                ax.text(
                    column,
                    row,
                    str(int(found[row, column])),
                    ha="center",
                    va="center",
                    fontsize=9,
                    color="white" if share[row, column] > 0.6 else "black",
                )


def _frame(index: int) -> Rectangle:
    return Rectangle((index - 0.5, index - 0.5), 1, 1, fill=False, edgecolor="#444444", linewidth=1)


def _title(found: Tensor, before: str) -> str:
    total = int(found.sum())
    return f"{before}{int(found.diagonal().sum())} of {total} right"
