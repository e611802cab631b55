"""Fit the weights of `method="auto"`: `python -m benchmarks.unlabeled_sets.fit_weights --processes 2`.

Writes the weights that were fitted on all data sets of the suite into the package, and those that
were fitted without each data set next to the suite's results.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import multiprocessing
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import scipy.optimize
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

import graphfew as gf
from benchmarks.unlabeled_sets.datasets import Array, data_root
from benchmarks.unlabeled_sets.run import load_datasets, run_header
from benchmarks.unlabeled_sets.settings import NO_OUTLIERS, LabeledSet, list_settings, sample_set
from benchmarks.unlabeled_sets.spec import SPEC, read_spec
from benchmarks.unlabeled_sets.weights import LEAVE_ONE_OUT
from graphfew.estimators import (
    EnsembleWeights,
    agreement_features,
    default_weights,
    fit_ensemble,
)
from graphfew.propagation import estimate_prior, match_prior, prior_features

SHIPPED = Path(gf.__file__).parent / "estimators/auto/weights.json"
# The suite measures draws from 0 on.
FIRST_DRAW = 100
PRIOR_PENALTY = 1e-3
ACCURACY_PENALTY = 0.03
ACCURACY_RANGE = (0.02, 0.995)
CONSTANT = 1e-9
ROUND = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Observation:
    """What one partially labeled set says about the weights.

    Attributes:
        dataset: name of its data set.
        shots: labels per class.
        predictions: `[M, U]` of the members of the ensemble on unlabeled items.
        combined: `[U, C]` the ensemble's scores without class biases.
        target: `[U]` true classes.
    """

    dataset: str
    shots: float
    predictions: Tensor
    combined: Tensor
    target: Tensor

    @property
    def n_classes(self) -> int:
        """The number of classes."""
        return self.combined.shape[1]


def observe(dataset: str, shots: float, labeled_set: LabeledSet) -> Observation:
    """Fit the ensemble to a set; its members do not depend on the weights."""
    x, y = torch.from_numpy(labeled_set.x), torch.from_numpy(labeled_set.y)
    n_classes = int(y.max()) + 1
    fit = fit_ensemble(x, y, n_classes, default_weights())
    unlabeled = y < 0
    combined = fit.logits[unlabeled] / fit.ensemble.inv_temperature - fit.ensemble.bias
    target = torch.from_numpy(labeled_set.target)[unlabeled]
    return Observation(dataset, shots, fit.predictions, combined.float(), target)


def fit_prior(observations: Iterable[Observation]) -> tuple[float, ...]:
    """Fit the weights of the class prior by maximum likelihood of the true classes."""
    rows, targets = [], []
    for item in observations:
        rows.append(prior_features(item.predictions, item.n_classes, item.shots).numpy())
        targets.append(np.bincount(item.target, minlength=item.n_classes) / len(item.target))

    def loss_and_gradient(weights: Array) -> tuple[float, Array]:
        loss, gradient = PRIOR_PENALTY * weights @ weights, 2 * PRIOR_PENALTY * weights
        for features, target in zip(rows, targets, strict=True):
            logits = features @ weights
            log_probs = logits - np.logaddexp.reduce(logits)
            loss -= target @ log_probs / len(rows)
            gradient += features.T @ (np.exp(log_probs) - target) / len(rows)
        return loss, gradient

    start = np.zeros(rows[0].shape[1])
    found = scipy.optimize.minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B").x
    return _rounded(found)


def fit_accuracy(
    observations: Iterable[Observation], prior_weights: Sequence[float]
) -> tuple[float, ...]:
    """Fit the weights of the predicted accuracy by ridge regression of its logit."""
    rows, targets = [], []
    for item in observations:
        prior = estimate_prior(item.predictions, item.n_classes, item.shots, prior_weights)
        final = (item.combined + match_prior(item.combined, prior)).argmax(1)
        rows.append(agreement_features(item.predictions, final, prior, item.shots).numpy())
        accuracy = np.clip(float((final == item.target).double().mean()), *ACCURACY_RANGE)
        targets.append(np.log(accuracy / (1 - accuracy)))
    x, y = np.stack(rows), np.array(targets)
    # The last column is 1. The others are standardized for the penalty, and back afterwards.
    mean, spread = x[:, :-1].mean(0), x[:, :-1].std(0)
    # A column that is constant over the sets gets the weight 0.
    spread = np.where(spread > CONSTANT, spread, 1)
    standardized = (x[:, :-1] - mean) / spread
    gram = standardized.T @ standardized / len(y) + ACCURACY_PENALTY * np.eye(len(spread))
    slopes = np.linalg.solve(gram, standardized.T @ (y - y.mean()) / len(y)) / spread
    return _rounded([*slopes, y.mean() - slopes @ mean])


def fit_weights(observations: Sequence[Observation]) -> EnsembleWeights:
    """Fit all weights."""
    prior = fit_prior(observations)
    return EnsembleWeights(prior, fit_accuracy(observations, prior))


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=Path, default=SPEC)
    parser.add_argument("--root", help="folder of the data sets; default: GRAPHFEW_DATA")
    parser.add_argument("--draws", type=int, default=3, help="sets of each setting")
    parser.add_argument("--processes", type=int, default=1, help="processes of one thread each")
    given = parser.parse_args(arguments)
    observations = _observe_all(given)
    by_dataset = collections.Counter(item.dataset for item in observations)
    without = {}
    for name in by_dataset:
        others = [item for item in observations if item.dataset != name]
        without[name] = dataclasses.asdict(fit_weights(others))
    header = run_header(sys.argv[1:] if arguments is None else arguments)
    header["command"] = str(header["command"]).replace(".run", ".fit_weights")
    content = {**header, "sets": dict(by_dataset), "without": without}
    LEAVE_ONE_OUT.parent.mkdir(exist_ok=True)
    LEAVE_ONE_OUT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    shipped = dataclasses.asdict(fit_weights(observations))
    SHIPPED.write_text(json.dumps(shipped, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {SHIPPED.name} and {LEAVE_ONE_OUT.name} from {len(observations)} sets")
    return 0


def _observe_all(given: argparse.Namespace) -> list[Observation]:
    spec = read_spec(given.spec)
    datasets = load_datasets(spec, None, data_root(given.root), print)
    context = multiprocessing.get_context("spawn")
    futures = []
    with ProcessPoolExecutor(given.processes, context, initializer=_use_one_thread) as pool:
        for setting in list_settings(spec):
            if setting.outliers != NO_OUTLIERS or setting.dataset not in datasets:
                continue
            for draw in range(FIRST_DRAW, FIRST_DRAW + given.draws):
                labeled_set = sample_set(datasets[setting.dataset], setting, draw, spec)
                if labeled_set is not None:
                    job = (setting.dataset, float(setting.shots), labeled_set)
                    futures.append(pool.submit(observe, *job))
        observations = []
        for future in futures:
            observations.append(future.result())
            if len(observations) % 20 == 0:
                print(f"[{len(observations)}/{len(futures)}]", flush=True)
    return observations


def _use_one_thread() -> None:
    torch.set_num_threads(1)
    threadpool_limits(1)


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(float(value), ROUND) for value in values)


if __name__ == "__main__":
    sys.exit(main())
