"""Confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from graphfew.errors import InvalidInputError
from graphfew.nn.method import MethodOutput
from graphfew.visualization._style import class_letter

ClassNames = Sequence[str] | Sequence[Sequence[str]]
# Counts are not readable in matrices of more classes.
MAX_CLASSES_WITH_COUNTS = 24


def plot_confusion_matrix(
    predictions: MethodOutput | Tensor,
    target: Tensor,
    *,
    queries: Sequence[int] | None = None,
    names: ClassNames | None = None,
) -> Figure:
    """Plot how often queries of each true class (row) were predicted as each class (column).

    Cells show counts and are shaded by their fraction of the row; the diagonal is framed.

    Args:
        predictions: output of a method, logits `[Q, way]`, or predicted classes `[Q]` int64.
        target: `[Q]` int64, the true class index in the task.
        queries: number of queries of each task. None takes those of the output's episode, or one
            task for tensors.
        names: class names, which combine all tasks in one matrix by name: a list for all tasks, or
            a list for each task. For task `i` of a `Tasks` object they are
            `[data.classes[c] for c in tasks.draw(i).classes]`. None plots one matrix per task, with
            classes A, B, C, ...

    Returns:
        The figure.

    Raises:
        InvalidInputError: lengths do not match, or a class has no name.

    Example:
        >>> import torch
        >>> predicted, target = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])
        >>> figure = plot_confusion_matrix(predicted, target, names=["cat", "dog"])
        >>> figure.axes[0].get_title()
        '1 task: 2 of 3 correct'
    """
    scores = predictions.logits if isinstance(predictions, MethodOutput) else predictions
    # Logits `[Q, way]`, or class indices `[Q]`.
    predicted = scores.argmax(1) if scores.ndim == 2 else scores
    episode = predictions.graphs[0].episode if isinstance(predictions, MethodOutput) else None
    if queries is None:
        # Plain tensors have no task boundaries, so all queries count as one task.
        queries = (len(predicted),) if episode is None else episode.n_queries
    if not len(predicted) == len(target) == sum(queries):
        raise InvalidInputError(
            f"there are {len(predicted)} predictions, {len(target)} targets and {sum(queries)} "
            "queries; give one of each per query"
        )
    targets = torch.split(target.cpu(), list(queries))
    predicted_classes = torch.split(predicted.cpu(), list(queries))
    if names is not None:
        return _plot_combined(targets, predicted_classes, names)
    if episode is not None and len(episode.way) == len(queries):
        ways = list(episode.way)
    else:
        # Without an episode, the largest index that occurs is the best guess.
        pairs = zip(targets, predicted_classes, strict=True)
        ways = [1 + int(torch.cat(pair).max()) for pair in pairs]
    return _plot_per_task(targets, predicted_classes, ways)


def count_predictions(target: Tensor, predicted: Tensor, n_classes: int) -> Tensor:
    """`[n_classes, n_classes]` int64: queries of each true class (row) by predicted class (column)."""
    # A pair of classes as one number: a single bincount replaces an accumulating scatter.
    flat = torch.bincount(target * n_classes + predicted, minlength=n_classes * n_classes)
    return flat.view(n_classes, n_classes)


def _plot_per_task(
    targets: Sequence[Tensor], predicted: Sequence[Tensor], ways: Sequence[int]
) -> Figure:
    n_tasks = len(targets)
    n_columns = min(n_tasks, 4)
    n_rows = -(-n_tasks // n_columns)
    figure = Figure(figsize=(3.3 * n_columns, 3.5 * n_rows), layout="constrained")
    axes = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    for task, way in enumerate(ways):
        counts = count_predictions(targets[task], predicted[task], way)
        _plot_matrix(axes[task], counts, [class_letter(c) for c in range(way)])
        axes[task].set_title(f"task {task}: {_accuracy_text(counts)}")
    for ax in axes[n_tasks:]:
        ax.axis("off")
    return figure


def _plot_combined(
    targets: Sequence[Tensor], predicted: Sequence[Tensor], names: ClassNames
) -> Figure:
    n_tasks = len(targets)
    task_names = _names_per_task(names, n_tasks)
    index_of: dict[str, int] = {}
    # Classes stay in the order of their first appearance.
    for class_names in task_names:
        for name in class_names:
            index_of.setdefault(name, len(index_of))

    counts = torch.zeros(len(index_of), len(index_of), dtype=torch.int64)
    for task, class_names in enumerate(task_names):
        for classes in (targets[task], predicted[task]):
            if len(classes) and int(classes.max()) >= len(class_names):
                raise InvalidInputError(
                    f"task {task} has a class {int(classes.max())} and names for {len(class_names)} "
                    "classes; give a name for each class, in the order of their indices"
                )
        combined_index = torch.tensor([index_of[name] for name in class_names])
        counts += count_predictions(
            combined_index[targets[task]], combined_index[predicted[task]], len(index_of)
        )

    side = 2.2 + 0.42 * len(index_of)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    ax = figure.subplots()
    _plot_matrix(ax, counts, list(index_of))
    tasks = "1 task" if n_tasks == 1 else f"{n_tasks} tasks"
    ax.set_title(f"{tasks}: {_accuracy_text(counts)}")
    return figure


def _names_per_task(names: ClassNames, n_tasks: int) -> list[list[str]]:
    # A str is itself a sequence of str: only the elements show whether the list is shared.
    shared = [name for name in names if isinstance(name, str)]
    if len(shared) == len(names):
        return [shared] * n_tasks
    if len(names) != n_tasks:
        raise InvalidInputError(
            f"there are names for {len(names)} tasks, and {n_tasks} tasks; give a list for each task"
        )
    return [list(class_names) for class_names in names]


def _plot_matrix(ax: Axes, counts: Tensor, labels: Sequence[str]) -> None:
    n_classes = len(labels)
    # Relative to the row, because classes differ in queries; a class may have none at all.
    fraction = counts / counts.sum(1, keepdim=True).clamp_min(1)
    ax.imshow(fraction.numpy(), cmap="Blues", vmin=0, vmax=1)
    if max(map(len, labels)) > 2:
        ax.set_xticks(
            range(n_classes), labels, rotation=60, ha="right", rotation_mode="anchor", fontsize=9
        )
    else:
        ax.set_xticks(range(n_classes), labels, fontsize=9)
    ax.set_yticks(range(n_classes), labels, fontsize=9)
    ax.set(xlabel="predicted class", ylabel="true class")
    for row in range(n_classes):
        ax.add_patch(_diagonal_frame(row))
    if n_classes > MAX_CLASSES_WITH_COUNTS:
        return
    for row, column in counts.nonzero().tolist():
        # Black is not readable on the dark end of the color map.
        color = "white" if fraction[row, column] > 0.6 else "black"
        text = str(int(counts[row, column]))
        ax.text(column, row, text, ha="center", va="center", fontsize=9, color=color)


def _diagonal_frame(index: int) -> Rectangle:
    return Rectangle((index - 0.5, index - 0.5), 1, 1, fill=False, edgecolor="#444444", linewidth=1)


def _accuracy_text(counts: Tensor) -> str:
    return f"{int(counts.diagonal().sum())} of {int(counts.sum())} correct"
