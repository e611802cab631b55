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
from graphfew.core import Topology
from graphfew.estimators import (
    Candidate,
    EnsembleWeights,
    agreement_features,
    candidate_features,
    cut_share_of,
    fit_members,
    mix_candidates,
    propose_candidates,
)
from graphfew.propagation import estimate_prior, prior_features

SHIPPED = Path(gf.__file__).parent / "estimators/auto/weights.json"
# The suite measures draws from 0 on.
FIRST_DRAW = 100
PRIOR_PENALTY = 1e-3
MIXTURE_PENALTY = 1e-2
# A candidate that is 2 points better gets e times the weight.
SHARPNESS = 50.0
ACCURACY_PENALTY = 0.1
ACCURACY_RANGE = (0.02, 0.995)
CONSTANT = 1e-9
ROUND = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Observation:
    """What one partially labeled set says about the weights.

    Attributes:
        dataset: name of its data set.
        shots: labels per class.
        scores: `[M, U, C]` standardized scores of the members on the unlabeled items.
        target: `[U]` true classes.
        labels: `[N]` given labels of all items.
        topology: kNN graph of all items.
        edge_weights: `[E, 1]` of the graph.
    """

    dataset: str
    shots: float
    scores: Tensor
    target: Tensor
    labels: Tensor
    topology: Topology
    edge_weights: Tensor

    @property
    def n_classes(self) -> int:
        """The number of classes."""
        return self.scores.shape[2]

    @property
    def predictions(self) -> Tensor:
        """`[M, U]` class of each unlabeled item by each member."""
        return self.scores.argmax(2)


@dataclasses.dataclass(frozen=True, eq=False)
class CandidateObservation:
    """The candidates of a mixture on one set.

    Attributes:
        candidates: K candidates.
        features: `[K, D]` of each candidate.
        accuracy: `[K]` of each candidate.
    """

    candidates: tuple[Candidate, ...]
    features: Tensor
    accuracy: Tensor


def observe(dataset: str, shots: float, labeled_set: LabeledSet) -> Observation:
    """Fit the members to a set; they do not depend on the weights."""
    x, y = torch.from_numpy(labeled_set.x), torch.from_numpy(labeled_set.y)
    members = fit_members(x, y, int(y.max()) + 1)
    unlabeled = y < 0
    return Observation(
        dataset,
        shots,
        members.scores[:, unlabeled].float(),
        torch.from_numpy(labeled_set.target)[unlabeled],
        y,
        members.graph.topology,
        members.graph.edge_weights,
    )


def observe_candidates(item: Observation, prior_weights: Sequence[float]) -> CandidateObservation:
    """Measure the candidates of a mixture, which depend on the weights of the class prior."""
    prior = estimate_prior(item.predictions, item.n_classes, item.shots, prior_weights)
    candidates = propose_candidates(item.scores, prior)
    cut_share = cut_share_of(item.topology, item.edge_weights, item.labels)
    features = candidate_features(candidates, item.scores, prior, cut_share)
    accuracy = []
    for candidate in candidates:
        is_right = candidate.logits(item.scores).argmax(1) == item.target
        accuracy.append(is_right.double().mean())
    return CandidateObservation(candidates, features, torch.stack(accuracy))


def fit_prior(observations: Iterable[Observation]) -> tuple[float, ...]:
    """Fit the weights of the class prior by maximum likelihood of the true classes."""
    rows, targets = [], []
    for item in observations:
        rows.append(prior_features(item.predictions, item.n_classes, item.shots).numpy())
        targets.append(np.bincount(item.target, minlength=item.n_classes) / len(item.target))

    return _rounded(_fit_softmax(rows, targets, PRIOR_PENALTY))


def fit_mixture_weights(observations: Sequence[CandidateObservation]) -> tuple[float, ...]:
    """Fit the weights of candidates, so that their mixture prefers those of high accuracy."""
    rows, targets = [], []
    for item in observations:
        # The softmax over candidates ignores what they share.
        rows.append((item.features - item.features.mean(0)).numpy())
        targets.append((SHARPNESS * item.accuracy).softmax(0).numpy())
    spread = np.concatenate(rows).std(0)
    rows = [row / spread for row in rows]
    return _rounded(_fit_softmax(rows, targets, MIXTURE_PENALTY) / spread)


def fit_accuracy(
    observations: Sequence[Observation],
    candidates: Sequence[CandidateObservation],
    mixture_weights: Sequence[float],
) -> tuple[float, ...]:
    """Fit the weights of the predicted accuracy by ridge regression of its logit."""
    rows, targets = [], []
    for item, observed in zip(observations, candidates, strict=True):
        mixture = mix_candidates(observed.candidates, observed.features, mixture_weights)
        log_probs = mixture.log_probs(item.scores)
        agreement = mixture.agreement(item.scores, log_probs.argmax(1))
        features = agreement_features(item.predictions, log_probs, agreement, item.shots)
        rows.append(features.numpy())
        is_right = log_probs.argmax(1) == item.target
        accuracy = np.clip(float(is_right.double().mean()), *ACCURACY_RANGE)
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
    """Fit all weights, each with those before it."""
    prior = fit_prior(observations)
    candidates = [observe_candidates(item, prior) for item in observations]
    mixture = fit_mixture_weights(candidates)
    return EnsembleWeights(prior, mixture, fit_accuracy(observations, candidates, mixture))


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
        print(f"fitted without {name}", flush=True)
    header = run_header(sys.argv[1:] if arguments is None else arguments)
    header["command"] = str(header["command"]).replace(".run", ".fit_weights")
    content = {**header, "sets": dict(by_dataset), "without": without}
    LEAVE_ONE_OUT.parent.mkdir(exist_ok=True)
    LEAVE_ONE_OUT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    shipped = dataclasses.asdict(fit_weights(observations))
    SHIPPED.write_text(json.dumps(shipped, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {SHIPPED.name} and {LEAVE_ONE_OUT.name} from {len(observations)} sets")
    return 0


def _fit_softmax(rows: Sequence[Array], targets: Sequence[Array], penalty: float) -> Array:
    """Fit weights of the softmax over each set's rows by maximum likelihood of its target."""

    def loss_and_gradient(weights: Array) -> tuple[float, Array]:
        loss, gradient = penalty * float(weights @ weights), 2 * penalty * weights
        for features, target in zip(rows, targets, strict=True):
            logits = features @ weights
            log_probs = logits - np.logaddexp.reduce(logits)
            loss -= float(target @ log_probs) / len(rows)
            gradient += features.T @ (np.exp(log_probs) - target) / len(rows)
        return loss, gradient

    start = np.zeros(rows[0].shape[1])
    solution = scipy.optimize.minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B")
    found: Array = solution.x
    return found


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
