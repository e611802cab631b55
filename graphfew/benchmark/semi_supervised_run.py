"""The record of a semi-supervised experiment: `FewShotClassifier` fitted once per repeat."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphfew import data
from graphfew._utils.model_spec import JSON
from graphfew.benchmark.data_config import DataRoots
from graphfew.benchmark.experiments import SemiSupervisedExperiment, to_finite
from graphfew.benchmark.measurement import MeasurementContext, ShowProgress
from graphfew.benchmark.records import BenchmarkRecord
from graphfew.benchmark.semi_supervised import SemiSupervisedBenchmark
from graphfew.data import Dataset
from graphfew.evaluation import EvaluationMode, Result, t_interval

Array = NDArray[Any]
CPU = torch.device("cpu")
BATCH_SIZE = 5000


@dataclasses.dataclass(frozen=True, eq=False)
class SemiSupervisedData:
    """Items to sample from, test items, and out-of-scope items if the spec measures them."""

    train: Dataset
    test: Dataset
    out_of_scope: Tensor | None


def load_semi_supervised_data(
    spec: SemiSupervisedBenchmark, roots: DataRoots
) -> SemiSupervisedData:
    """Load the data of a spec, or raise SpecError if it does not fit the spec."""
    with spec.errors_at("data", "name"):
        train, test = (spec.data.load(split, roots) for split in (spec.data.train, spec.data.test))
    if train.classes != test.classes or train.x.ndim != 2 or not train.x.is_floating_point():
        raise spec.error(
            f"{spec.data.name} must have features, and the same classes in {spec.data.train} and "
            f"{spec.data.test}; got {len(train.classes)} and {len(test.classes)} classes, and "
            f"items of shape {list(train.x.shape[1:])}",
            *("data", "name"),
        )
    # Fewer items would silently change the budget of single classes.
    smallest = min(len(members) for members in train.members)
    for budget in spec.sampling.budgets():
        if budget.way > len(train.classes) or budget.shot + budget.unlabeled > smallest:
            raise spec.error(
                f"{budget}: {spec.data.name}/{spec.data.train} has {len(train.classes)} classes, "
                f"the smallest with {smallest} items; reduce the numbers",
                "semi_supervised",
            )
    outside = _load_out_of_scope(spec, roots) if spec.sampling.out_of_scope else None
    return SemiSupervisedData(train, test, outside)


def measure_semi_supervised(
    experiment: SemiSupervisedExperiment,
    items: SemiSupervisedData,
    context: MeasurementContext,
    progress: ShowProgress,
) -> BenchmarkRecord:
    """Evaluate an experiment; `progress` is called with the number of finished repeats."""
    accuracies: list[float] = []
    areas: list[float] = []
    n_queries = 0
    with context.measure(experiment, CPU) as make_record:
        for repeat in range(experiment.count):
            # The seed does not depend on the row, so that differences between rows are paired.
            seed = experiment.spec.sampling.seed + repeat
            correct, area = _run_repeat(experiment, items, seed)
            accuracies.append(float(correct.mean()))
            n_queries += len(correct)
            if area is not None:
                areas.append(area)
            progress(repeat + 1)
        metrics: dict[str, float] = {}
        if areas:
            metrics["auroc"], metrics["auroc_half_width"] = t_interval(areas)
        result = _result(experiment, items, accuracies)
        return make_record(result, n_queries, metrics=metrics)


def sample_items(
    train: Dataset, experiment: SemiSupervisedExperiment, seed: int
) -> tuple[Array, Array, Array]:
    """Sample labeled items of some classes and unlabeled items of all classes.

    Returns:
        Features `[N, F]`, labels `[N]` with -1 for unlabeled items, and the labeled classes.
    """
    budget = experiment.budget
    rng = np.random.default_rng(seed)
    # Everything is permuted before the budget selects: the samples of a small budget are then
    # part of those of a larger one, and curves over budgets are smooth.
    order = rng.permutation(len(train.classes))
    members = {c: rng.permutation(train.members[c]) for c in order.tolist()}
    known = order[: budget.way]
    labeled = [members[c][: budget.shot] for c in known.tolist()]
    # Unlabeled items follow the labeled ones, so that none is both.
    end = budget.shot + budget.unlabeled
    # Of all classes: classes without labels are the distractors of the method.
    unlabeled = [members[c][budget.shot : end] for c in order.tolist()]
    n_unlabeled = sum(len(part) for part in unlabeled)
    labels = np.concatenate([np.repeat(known, budget.shot), np.full(n_unlabeled, -1)])
    return train.x.numpy()[np.concatenate([*labeled, *unlabeled])], labels, known


def _run_repeat(
    experiment: SemiSupervisedExperiment, items: SemiSupervisedData, seed: int
) -> tuple[Array, float | None]:
    """Return which test items are classified correctly, and the AUROC of in-scope items."""
    # Imported here because scikit-learn takes seconds to import.
    from sklearn.metrics import roc_auc_score

    from graphfew.estimators.classifier import FewShotClassifier

    method = experiment.method
    x, y, known = sample_items(items.train, experiment, seed)
    if not method.unlabeled:
        x, y = x[y >= 0], y[y >= 0]
    classifier = FewShotClassifier(
        method.method,
        arguments=dict(method.arguments) or None,
        head=method.head,
        head_arguments=dict(method.head_arguments) or None,
        batch_size=BATCH_SIZE,
    ).fit(x, y)
    labels = items.test.y.numpy()
    # No classifier can predict a class that it has no label of.
    in_scope = np.isin(labels, known)
    queries = items.test.x.numpy()[in_scope]
    correct: Array = classifier.predict(queries) == labels[in_scope]
    if items.out_of_scope is None:
        return correct, None
    # A query is in scope to the degree that it is similar to its best class.
    inside = classifier.similarity(queries).max(1)
    outside = classifier.similarity(items.out_of_scope.numpy()).max(1)
    is_inside = np.arange(len(inside) + len(outside)) < len(inside)
    return correct, float(roc_auc_score(is_inside, np.concatenate([inside, outside])))


def _result(
    experiment: SemiSupervisedExperiment, items: SemiSupervisedData, accuracies: list[float]
) -> Result:
    method = experiment.method
    mean, half_width = t_interval(accuracies)
    tasks: dict[str, JSON] = {
        "data": items.test.name,
        "split": items.test.split,
        **dataclasses.asdict(experiment.budget),
        "query": "every item of the split",
        "seed": experiment.spec.sampling.seed,
        "within_groups": False,
        "unlabeled_classes": len(items.train.classes),
        "drawn_from": f"{items.train.name}/{items.train.split}",
    }
    arguments = method.model_dump(include={"method", "arguments", "head", "head_arguments"})
    model = {
        **to_finite(arguments),
        "encoder": {"name": "identity", "arguments": {}},
        "input": list(items.test.x.shape[1:]),
    }
    mode = EvaluationMode(transductive=False, unlabeled=method.unlabeled)
    return Result(mean, half_width, tuple(accuracies), mode, tasks, model, str(CPU))


def _load_out_of_scope(spec: SemiSupervisedBenchmark, roots: DataRoots) -> Tensor:
    """Return out-of-scope items, which some data sets have next to their classes."""
    name = spec.data.name
    location = ("semi_supervised", "out_of_scope")
    load: Callable[..., Tensor] | None = getattr(data, f"{name}_out_of_scope", None)
    if load is None:
        raise spec.error(f"{name} has no out-of-scope items; omit out_of_scope", *location)
    with spec.errors_at(*location, prefix=f"the out-of-scope items of {name} cannot be read: "):
        return load(roots.get(name))
