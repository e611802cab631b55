"""Accuracy over tasks: the mean of per-task accuracies and its 95 % interval."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from graphfew._utils.model_spec import JSON
from graphfew.core.episode import Episode
from graphfew.data.sources import TaskSource
from graphfew.errors import InvalidInputError
from graphfew.evaluation.contract import check_contract
from graphfew.evaluation.mode import EvaluationMode
from graphfew.evaluation.prediction import predict
from graphfew.evaluation.statistics import calibration_error, t_interval
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import GraphMethod, device_of
from graphfew.training.distributed import SINGLE_PROCESS, ProcessGroup


@runtime_checkable
class DescribedTasks(TaskSource, Protocol):
    """A task source that describes how its tasks are sampled; `Tasks` is one.

    Example:
        >>> import torch, graphfew as gf
        >>> data = gf.data.arrays(torch.rand(20, 4), torch.arange(20) % 4)
        >>> isinstance(gf.Tasks(data, way=2, query=3), DescribedTasks)
        True
    """

    def describe(self) -> Mapping[str, JSON]:
        """Return data set, split, way, shot, query sampling and seed as JSON values."""
        ...


@dataclasses.dataclass(frozen=True)
class Result:
    """Accuracy of a model over a set of tasks, together with the evaluation protocol.

    Attributes:
        mean: mean of the per-task accuracies, in `[0, 1]`.
        half_width: half the width of the 95 % t-interval of `mean` over tasks. It does not cover
            the variance over training seeds.
        per_task: accuracy of each task, in task order.
        mode: what the model could see besides the support set.
        tasks: the value of `tasks.describe()`.
        model: method, arguments, encoder, input shape, and the checkpoint's provenance such as its
            training seed and the split that it was selected on.
        device: the device that the model ran on.
        calibration_error: expected calibration error over all predictions, in `[0, 1]` (see
            `calibration_error`); None in results of earlier versions.

    Example:
        >>> mode = EvaluationMode(transductive=False)
        >>> result = Result(0.75, 0.1, (0.5, 1.0, 0.75), mode, {"way": 5}, {"method": "egnn"}, "cpu")
        >>> print(result)
        75.00 ± 10.00 % (3 tasks, inductive)
    """

    mean: float
    half_width: float
    per_task: tuple[float, ...]
    mode: EvaluationMode
    tasks: Mapping[str, JSON]
    model: Mapping[str, JSON]
    device: str
    # Not compared: the confidences differ by rounding between batch sizes, the accuracies do not.
    calibration_error: float | None = dataclasses.field(default=None, compare=False)

    def __str__(self) -> str:
        accuracy = f"{100 * self.mean:.2f} ± {100 * self.half_width:.2f} %"
        return f"{accuracy} ({len(self.per_task)} tasks, {self.mode})"

    def to_json(self) -> dict[str, JSON]:
        """Convert to JSON values; the mode becomes its text form.

        Returns:
            All fields by name, including the per-task accuracies.

        Example:
            >>> result = Result(1.0, 0.0, (1.0, 1.0), EvaluationMode(transductive=True), {}, {}, "cpu")
            >>> result.to_json()["mode"]
            'transductive'
        """
        return {**dataclasses.asdict(self), "mode": str(self.mode)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Result:
        """Convert from JSON values, the inverse of `to_json`.

        Args:
            values: all fields by name; those with a default may be absent.

        Returns:
            The result.

        Raises:
            KeyError: the mode or the per-task accuracies are missing.
            TypeError: another field is missing, or a field is unknown.
            ValueError: the mode or an accuracy cannot be parsed.

        Example:
            >>> result = Result(1.0, 0.0, (1.0, 1.0), EvaluationMode(transductive=True), {}, {}, "cpu")
            >>> Result.from_json(result.to_json()) == result
            True
        """
        fields = dict(values)
        fields["mode"] = EvaluationMode.parse(str(fields["mode"]))
        fields["per_task"] = tuple(float(accuracy) for accuracy in fields["per_task"])
        return cls(**fields)


def evaluate(
    model: GraphMethod,
    tasks: DescribedTasks,
    n: int = 1000,
    *,
    batch: int = 16,
    transductive_bn: bool = False,
    progress: Callable[[int], None] | None = None,
    process_group: ProcessGroup = SINGLE_PROCESS,
) -> Result:
    """Compute the accuracy over tasks `0 .. n-1`.

    The model runs in evaluation mode and is left unchanged.

    Args:
        model: the model; it runs on the device of its weights.
        tasks: a task source that describes itself, such as `Tasks`.
        n: number of tasks, at least 2.
        batch: number of tasks that are encoded together.
        transductive_bn: declares that batch norm uses the statistics of each task; tasks then run
            one by one.
        progress: called after each batch with the number of tasks that this process has done.
        process_group: the processes that split the batches among them. Each returns the complete
            result, which does not depend on their number.

    Returns:
        Mean accuracy with its 95 % interval, the per-task accuracies and the protocol.

    Raises:
        InvalidInputError: `n` or `batch` is too small, or the method rejects an episode.
        ContractError: the model violates the evaluation contract (see `check_contract`).

    Example:
        >>> import graphfew as gf
        >>> from sklearn.datasets import load_digits
        >>> tasks = gf.Tasks(gf.data.arrays(*load_digits(return_X_y=True)), way=5, query=5)
        >>> model = gf.create("prototypical", encoder=gf.backbones.identity(64))
        >>> result = gf.evaluate(model, tasks, n=20)
        >>> str(result.mode), len(result.per_task), result.mean > 0.5
        ('inductive', 20, True)
    """
    if n < 2 or batch < 1:
        raise InvalidInputError(
            f"evaluate got n={n}, batch={batch}; an interval needs n >= 2, and batch >= 1"
        )
    if transductive_bn:
        # Batch statistics must come from one task; others in the batch would leak into them.
        batch = 1
    parts: list[_BatchResult] = []
    # Mode and input shape of the first batch; None in a process that has no batch.
    protocol: tuple[EvaluationMode, list[JSON]] | None = None
    tasks_done = 0
    with eval_mode(model, transductive_bn=transductive_bn):
        for index, episode, target in _local_batches(model, tasks, n, batch, process_group):
            if protocol is None:
                protocol = _mode(model, episode, transductive_bn), list(episode.x.shape[1:])
                # Once per evaluation, because the check takes several forward passes.
                check_contract(model, episode, transductive_bn=transductive_bn)
            parts.append(_evaluate_batch(model, index, episode, target))
            tasks_done += episode.n_tasks
            if progress is not None:
                progress(tasks_done)

    gathered = process_group.gather((protocol, parts))
    mode, input_shape = next(protocol for protocol, _ in gathered if protocol is not None)
    all_parts = [part for _, process_parts in gathered for part in process_parts]
    # In the order of the tasks, so that results do not depend on the number of processes.
    all_parts.sort(key=lambda part: part.index)
    accuracies = [accuracy for part in all_parts for accuracy in part.accuracies]
    mean, half_width = t_interval(accuracies)
    return Result(
        mean=mean,
        half_width=half_width,
        per_task=tuple(accuracies),
        mode=mode,
        tasks=dict(tasks.describe()),
        model={**_describe_model(model), "input": input_shape},
        device=str(device_of(model)),
        calibration_error=calibration_error(
            torch.cat([part.confidence for part in all_parts]),
            torch.cat([part.correct for part in all_parts]),
        ),
    )


def per_task_accuracy(logits: Tensor, target: Tensor, queries: Sequence[int]) -> list[float]:
    """Compute the accuracy of each task of a batch.

    Args:
        logits: `[Q, way]` logits of all queries.
        target: `[Q]` their classes.
        queries: number of queries of each task, of sum `Q`.

    Returns:
        One accuracy in `[0, 1]` per task.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
        >>> per_task_accuracy(logits, torch.tensor([0, 1, 1]), queries=(2, 1))
        [0.5, 1.0]
    """
    correct = (logits.argmax(1) == target).double().cpu()
    return [task.mean().item() for task in torch.split(correct, list(queries))]


@dataclasses.dataclass(frozen=True, eq=False)
class _BatchResult:
    """Per-task accuracies of one batch, and confidence and correctness of each of its queries."""

    index: int
    accuracies: list[float]
    confidence: Tensor
    correct: Tensor


def _evaluate_batch(
    model: GraphMethod, index: int, episode: Episode, target: Tensor
) -> _BatchResult:
    logits = predict(model, episode)
    return _BatchResult(
        index=index,
        accuracies=per_task_accuracy(logits, target, episode.n_queries),
        confidence=logits.softmax(1).amax(1).cpu(),
        correct=(logits.argmax(1) == target).cpu(),
    )


def _local_batches(
    model: GraphMethod, tasks: TaskSource, n: int, batch: int, process_group: ProcessGroup
) -> Iterator[tuple[int, Episode, Tensor]]:
    """Yield index, episode and targets of the batches of this process."""
    device = device_of(model)
    for index, start in enumerate(range(0, n, batch)):
        if index % process_group.size == process_group.rank:
            episode, target = tasks.batch(range(start, min(start + batch, n)))
            yield index, episode.to(device), target.to(device)


def _mode(model: GraphMethod, episode: Episode, transductive_bn: bool) -> EvaluationMode:
    has_unlabeled = any(episode.n_unlabeled)
    return EvaluationMode(
        transductive=model.transductive,
        unlabeled=has_unlabeled and model.unlabeled,
        unlabeled_dropped=has_unlabeled and not model.unlabeled,
        transductive_bn=transductive_bn,
    )


def _describe_model(model: GraphMethod) -> dict[str, JSON]:
    spec = model.spec
    if spec is None:
        return {"method": "custom", "encoder": type(model.encoder).__name__, **model.provenance}
    arguments = dict(spec.arguments)
    encoder = arguments.pop("encoder")
    return {"method": spec.name, "arguments": arguments, "encoder": encoder, **model.provenance}
