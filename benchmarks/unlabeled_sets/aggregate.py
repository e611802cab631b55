"""Numbers for the tables and the plot, from the records of the suite."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

import graphfew as gf
from benchmarks.unlabeled_sets.datasets import Array
from benchmarks.unlabeled_sets.records import Records, Sample
from benchmarks.unlabeled_sets.settings import COMPACT, NO_OUTLIERS, SPREAD, Setting
from benchmarks.unlabeled_sets.spec import SuiteSpec

# A method may be so far below the best reference, beyond the interval of the paired difference.
TOLERANCE = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class SettingResult:
    """Results of all methods on the same draws of a setting.

    Attributes:
        setting: the setting.
        measures: by method, the measures of each draw.
    """

    setting: Setting
    measures: Mapping[str, tuple[Mapping[str, float], ...]]

    @property
    def n_draws(self) -> int:
        """Number of draws."""
        return len(next(iter(self.measures.values())))

    def values(self, method: str, measure: str) -> Array:
        """Return a measure of each draw `[D]`; NaN where it is not defined."""
        return np.array([draw.get(measure, np.nan) for draw in self.measures[method]])

    def accuracy(self, method: str) -> float:
        """Return the mean accuracy over draws."""
        return float(self.values(method, "accuracy").mean())


@dataclasses.dataclass(frozen=True)
class MethodSummary:
    """Means of a method over settings; shares and differences are fractions, not percent.

    Attributes:
        name: the method.
        by_group: accuracy by balance or kind of outliers.
        accuracy: accuracy over all settings.
        distance: mean distance to the oracle, the best single method of each setting.
        n_below: number of settings where the method is more than one point below the best
            reference, beyond the 95 % interval of the paired difference over draws.
        worst_difference: the lowest mean difference to the best reference of a setting.
        worst_setting: the setting with this difference.
        confidence: mean confidence.
        calibration_error: mean expected calibration error.
        confident_share: share of items at confidence 0.9 or more.
        confident_accuracy: accuracy among these items, each set weighted by their share; NaN if
            there are none.
        auroc: AUROC of members against outliers, by kind of outliers.
        seconds: median time of fit and prediction.
    """

    name: str
    by_group: Mapping[str, float]
    accuracy: float
    distance: float
    n_below: int
    worst_difference: float
    worst_setting: Setting
    confidence: float
    calibration_error: float
    confident_share: float
    confident_accuracy: float
    auroc: Mapping[str, float]
    seconds: float


@dataclasses.dataclass(frozen=True)
class GroupBest:
    """The best single method and the best reference in a group of settings, with their accuracy.

    Attributes:
        group: name of the group.
        n_settings: number of settings.
        best: name and accuracy of the best single method that is not a baseline.
        reference: name and accuracy of the best reference.
        default: accuracy of the classifier's default; None if it was not measured.
    """

    group: str
    n_settings: int
    best: tuple[str, float]
    reference: tuple[str, float]
    default: float | None


def measured_methods(spec: SuiteSpec, records: Records) -> list[str]:
    """Return the methods that have results, in the order of the spec."""
    measured = {name for methods in records.results.values() for name in methods}
    return [row.name for row in spec.methods if row.name in measured]


def setting_results(records: Records, methods: Sequence[str]) -> list[SettingResult]:
    """Return results by setting, of the draws that have all of the methods."""
    draws: dict[Setting, list[Mapping[str, Mapping[str, float]]]] = {}
    for sample in sorted(records.results, key=_sort_key):
        results = records.results[sample]
        if all(name in results for name in methods):
            draws.setdefault(sample.setting, []).append(results)
    found = []
    for setting, complete in draws.items():
        measures = {name: tuple(draw[name] for draw in complete) for name in methods}
        found.append(SettingResult(setting, measures))
    return found


def group_of(setting: Setting) -> str:
    """Return the balance of a setting, or its kind of outliers."""
    if setting.outliers == NO_OUTLIERS:
        return setting.balance.replace("_", " ")
    return f"{setting.outliers} outliers"


def oracle(result: SettingResult, spec: SuiteSpec) -> float:
    """Return the mean accuracy of the best single method of a setting."""
    single = [row.name for row in spec.methods if row.single and row.name in result.measures]
    return max(result.accuracy(name) for name in single)


def best_reference(result: SettingResult, spec: SuiteSpec) -> str:
    """Return the reference with the highest mean accuracy in a setting."""
    references = [row.name for row in spec.methods if row.reference and row.name in result.measures]
    return max(references, key=result.accuracy)


def summarize(results: Sequence[SettingResult], spec: SuiteSpec) -> list[MethodSummary]:
    """Return the summary of every method, in the order of the spec."""
    methods = results[0].measures
    return [_summarize_method(name, results, spec) for name in methods]


def is_below(difference: Array) -> bool:
    """Return whether a paired difference is more than a point below 0, beyond its 95 % interval.

    One draw has no interval, so nothing is below.
    """
    if len(difference) < 2:
        return False
    mean, half_width = gf.evaluation.t_interval(difference)
    return mean + half_width < -TOLERANCE


def best_by_group(
    results: Sequence[SettingResult], spec: SuiteSpec, group: Callable[[Setting], str]
) -> list[GroupBest]:
    """Return the best methods of each group of settings, in the order of the results."""
    groups: dict[str, list[SettingResult]] = {}
    for result in results:
        groups.setdefault(group(result.setting), []).append(result)
    return [_group_best(name, members, spec) for name, members in groups.items()]


def _group_best(name: str, results: Sequence[SettingResult], spec: SuiteSpec) -> GroupBest:
    accuracy = {}
    for method in results[0].measures:
        accuracy[method] = float(np.mean([result.accuracy(method) for result in results]))
    rows = [row for row in spec.methods if row.name in accuracy]
    own = [row.name for row in rows if row.single and row.baseline is None]
    references = [row.name for row in rows if row.reference]
    defaults = [accuracy[row.name] for row in rows if not row.single]
    best = max(own, key=lambda method: accuracy[method])
    reference = max(references, key=lambda method: accuracy[method])
    return GroupBest(
        name,
        len(results),
        (best, accuracy[best]),
        (reference, accuracy[reference]),
        defaults[0] if defaults else None,
    )


def _summarize_method(
    name: str, results: Sequence[SettingResult], spec: SuiteSpec
) -> MethodSummary:
    accuracy = {result.setting: result.accuracy(name) for result in results}
    differences: dict[Setting, Array] = {}
    for result in results:
        reference = result.values(best_reference(result, spec), "accuracy")
        differences[result.setting] = result.values(name, "accuracy") - reference
    worst = min(differences, key=lambda setting: float(differences[setting].mean()))
    groups: dict[str, list[float]] = {}
    for setting, value in accuracy.items():
        groups.setdefault(group_of(setting), []).append(value)
    distances = [oracle(result, spec) - accuracy[result.setting] for result in results]
    share = _mean(results, name, "confident_share")
    return MethodSummary(
        name=name,
        by_group={group: float(np.mean(values)) for group, values in groups.items()},
        accuracy=float(np.mean(list(accuracy.values()))),
        distance=float(np.mean(distances)),
        n_below=sum(is_below(difference) for difference in differences.values()),
        worst_difference=float(differences[worst].mean()),
        worst_setting=worst,
        confidence=_mean(results, name, "confidence"),
        calibration_error=_mean(results, name, "calibration_error"),
        confident_share=share,
        confident_accuracy=_confident_accuracy(results, name, share),
        auroc=_auroc(results, name),
        seconds=float(np.median(np.concatenate([r.values(name, "seconds") for r in results]))),
    )


def _mean(results: Sequence[SettingResult], name: str, measure: str) -> float:
    return float(np.mean([result.values(name, measure).mean() for result in results]))


def _confident_accuracy(results: Sequence[SettingResult], name: str, share: float) -> float:
    if share == 0:
        return float("nan")
    correct = []
    for result in results:
        # Sets without a confident item have no accuracy, and weight 0.
        accuracy = np.nan_to_num(result.values(name, "confident_accuracy"))
        correct.append((accuracy * result.values(name, "confident_share")).mean())
    return float(np.mean(correct)) / share


def _auroc(results: Sequence[SettingResult], name: str) -> dict[str, float]:
    found = {}
    for kind in (SPREAD, COMPACT):
        with_outliers = [result for result in results if result.setting.outliers == kind]
        if with_outliers:
            found[kind] = _mean(with_outliers, name, "auroc")
    return found


def _sort_key(sample: Sample) -> tuple[object, ...]:
    setting = sample.setting
    return (setting.dataset, setting.outliers, setting.balance, setting.shots, sample.draw)
