"""Evaluation over tasks: mean of per-task accuracies with its t-interval, and paired comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from graphfew._utils.model_spec import JSON
from graphfew.core.episode import Episode
from graphfew.data.sources import TaskSource
from graphfew.evaluation.contract import check_contract
from graphfew.evaluation.mode import EvaluationMode
from graphfew.evaluation.statistics import calibration_error, t_interval
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import GraphMethod, device_of
from graphfew.training.distributed import SINGLE_PROCESS, ProcessGroup

# Edges in one piece of work: bounds memory, whatever the episode.
EDGES_AT_ONCE = 400_000


@runtime_checkable
class DescribedTasks(TaskSource, Protocol):
    """A task source that tells what it draws."""

    def describe(self) -> Mapping[str, JSON]:
        """Data set, split, way, shot, queries and how they are drawn, unlabeled, seed: JSON values."""
        ...


@dataclasses.dataclass(frozen=True)
class Result:
    """Accuracy of one model over tasks, with everything that its meaning hangs on.

    Shapes:
        mean: mean of per-task accuracies, in `[0, 1]`.
        half_width: half the 95 % t-interval of that mean over tasks; it does not cover training seeds.
        per_task: the accuracy of each task, in order.
        mode: what the model had access to.
        tasks: what `tasks.describe()` says: data, split, way, shot, how queries are drawn, unlabeled, seed.
        model: method, encoder, arguments, input shape, and the checkpoint's provenance (training seed, split that it
            was selected on).
        device: where it ran.
        calibration_error: the expected calibration error of all decisions together, in `[0, 1]` (see
            `calibration_error`); None in results of earlier versions.
    """

    mean: float
    half_width: float
    per_task: tuple[float, ...]
    mode: EvaluationMode
    tasks: Mapping[str, JSON]
    model: Mapping[str, JSON]
    device: str
    # Rounding differs with the size of batches; accuracies do not.
    calibration_error: float | None = dataclasses.field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{100 * self.mean:.2f} ± {100 * self.half_width:.2f} % ({len(self.per_task)} tasks, {self.mode})"

    def to_json(self) -> dict[str, JSON]:
        """The result as JSON values, per-task accuracies included."""
        return {**dataclasses.asdict(self), "mode": str(self.mode)}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Accuracy of `a` minus that of `b` on the same tasks: its mean, 95 % half width, and two-sided paired t-test."""

    difference: float
    half_width: float
    p_value: float
    a: Result
    b: Result

    def __str__(self) -> str:
        return f"{100 * self.difference:+.2f} ± {100 * self.half_width:.2f} points (p = {self.p_value:.2g})"


def evaluate(
    model: GraphMethod,
    tasks: DescribedTasks,
    n: int = 600,
    *,
    batch: int = 16,
    transductive_bn: bool = False,
    progress: Callable[[int], None] | None = None,
    workers: ProcessGroup = SINGLE_PROCESS,
) -> Result:
    """Accuracy over tasks `0 .. n-1`, the model in evaluation mode and unchanged.

    Args:
        model: runs where its weights are.
        tasks: a task source that describes itself, such as `Tasks`.
        n: number of tasks, at least 2.
        batch: tasks encoded together.
        transductive_bn: declare that batch norm uses the statistics of each task; tasks then run one by one.
        progress: called with the number of tasks done, by this process, after each batch.
        workers: the processes that share the batches; each gets the whole result, which is that of one process.

    Raises:
        ValueError: fewer than 2 tasks, or an episode that the method refuses.
        ContractError: the model breaks the evaluation contract (see `audit`).
    """
    if n < 2 or batch < 1:
        raise ValueError(
            f"evaluate got n={n}, batch={batch}; an interval needs n >= 2, and batch >= 1"
        )
    judged: list[_Judged] = []
    facts: tuple[EvaluationMode, list[JSON]] | None = None
    done = 0
    with eval_mode(model, transductive_bn=transductive_bn):
        for number, episode, target in _batches(
            model, tasks, n, 1 if transductive_bn else batch, workers
        ):
            if facts is None:
                facts = _mode(model, episode, transductive_bn), list(episode.x.shape[1:])
                check_contract(model, episode, transductive_bn=transductive_bn)
            logits = predict(model, episode)
            judged.append(
                _Judged(
                    number,
                    per_task_accuracy(logits, target, episode.n_queries),
                    logits.softmax(1).amax(1).cpu(),
                    (logits.argmax(1) == target).cpu(),
                )
            )
            done += episode.n_tasks
            if progress is not None:
                progress(done)
    told = workers.gather((facts, judged))
    mode, shape = next(own for own, _ in told if own is not None)
    parts = sorted((part for _, own in told for part in own), key=lambda part: part.number)
    accuracies = [accuracy for part in parts for accuracy in part.accuracies]
    mean, half = t_interval(accuracies)
    sure, right = (
        torch.cat([part.sure for part in parts]),
        torch.cat([part.right for part in parts]),
    )
    return Result(
        mean,
        half,
        tuple(accuracies),
        mode,
        dict(tasks.describe()),
        {**_model_facts(model), "input": shape},
        str(device_of(model)),
        calibration_error(sure, right),
    )


def compare(
    model: GraphMethod, other: GraphMethod, tasks: DescribedTasks, n: int = 600, *, batch: int = 16
) -> Comparison:
    """Paired comparison of two models on tasks `0 .. n-1`. Raises as `evaluate` does."""
    return compare_results(
        evaluate(model, tasks, n, batch=batch), evaluate(other, tasks, n, batch=batch)
    )


def compare_results(a: Result, b: Result) -> Comparison:
    """The comparison of two results. Raises ValueError where they are not of the same tasks."""
    if a.tasks != b.tasks or len(a.per_task) != len(b.per_task):
        raise ValueError(
            f"the results are of different tasks ({len(a.per_task)} of {dict(a.tasks)} against "
            f"{len(b.per_task)} of {dict(b.tasks)}); evaluate both on the same ones"
        )
    from scipy import stats  # takes most of a second to import

    gaps = np.subtract(a.per_task, b.per_task)
    mean, half = t_interval(gaps)
    # Gaps that differ by rounding alone are one gap, of which a test can say nothing finer than whether it is 0.
    p = (
        float(stats.ttest_1samp(gaps, 0.0).pvalue)
        if np.ptp(gaps) > 1e-12
        else float(abs(mean) < 1e-12)
    )
    return Comparison(mean, half, p, a, b)


def predict(model: GraphMethod, episode: Episode) -> Float[Tensor, "Q way"]:
    """Logits `[Q, max(way)]` as `model(episode)` gives, in pieces of bounded memory. Call inside `evaluating`."""
    encoded = model.encode(episode)
    cost = [
        q * (n - q + 1) ** 2 if model.one_graph_per_query else n**2
        for n, q in zip(encoded.sizes, encoded.n_queries, strict=True)
    ]
    parts = [
        logits for some in _pieces(cost) for logits in _predict_piece(model, encoded.take(some))
    ]
    wide = max(episode.way)
    return torch.cat(
        [torch.nn.functional.pad(p, (0, wide - p.shape[1]), value=-torch.inf) for p in parts]
    )


def per_task_accuracy(logits: Tensor, target: Tensor, queries: Sequence[int]) -> list[float]:
    """Share of right answers of each task; `queries` is the number of each task's queries."""
    right = (logits.argmax(1) == target).double().cpu()
    return [part.mean().item() for part in torch.split(right, list(queries))]


def _predict_piece(model: GraphMethod, encoded: Episode) -> Iterator[Tensor]:
    graphs = encoded.inductive() if model.one_graph_per_query else encoded
    for some in _pieces([n**2 for n in graphs.sizes]):
        yield model.predict_logits(graphs.take(some))


def _pieces(cost: Sequence[int]) -> Iterator[range]:
    """Runs of consecutive tasks whose cost together stays under the bound; a single task above it stands alone."""
    start, total = 0, 0
    for index, value in enumerate(cost):
        if index > start and total + value > EDGES_AT_ONCE:
            yield range(start, index)
            start, total = index, 0
        total += value
    yield range(start, len(cost))


@dataclasses.dataclass(frozen=True, eq=False)
class _Judged:
    """A batch of tasks: its number, and each task's accuracy; each query's confidence and whether it was right."""

    number: int
    accuracies: list[float]
    sure: Tensor
    right: Tensor


def _batches(
    model: GraphMethod, tasks: TaskSource, n: int, batch: int, workers: ProcessGroup
) -> Iterator[tuple[int, Episode, Tensor]]:
    """This process's batches, with their numbers."""
    device = device_of(model)
    for number, start in enumerate(range(0, n, batch)):
        if number % workers.size == workers.rank:
            episode, target = tasks.batch(range(start, min(start + batch, n)))
            yield number, episode.to(device), target.to(device)


def _mode(model: GraphMethod, episode: Episode, transductive_bn: bool) -> EvaluationMode:
    has_unlabeled = any(episode.n_unlabeled)
    return EvaluationMode(
        transductive=model.transductive,
        unlabeled=has_unlabeled and model.unlabeled,
        unlabeled_dropped=has_unlabeled and not model.unlabeled,
        transductive_bn=transductive_bn,
    )


def _model_facts(model: GraphMethod) -> dict[str, JSON]:
    recipe = model.spec
    if recipe is None:
        return {"method": "custom", "encoder": type(model.encoder).__name__, **model.provenance}
    arguments = {key: value for key, value in recipe.arguments.items() if key != "encoder"}
    return {
        "method": recipe.name,
        "arguments": arguments,
        "encoder": recipe.arguments["encoder"],
        **model.provenance,
    }
