"""Tables of the suite, in Markdown; `benchmarks.tables` and the documentation insert them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.method_tables import markdown
from benchmarks.unlabeled_sets import aggregate
from benchmarks.unlabeled_sets.aggregate import MethodSummary, SettingResult
from benchmarks.unlabeled_sets.records import RESULTS, records_path
from benchmarks.unlabeled_sets.records import read_records as read
from benchmarks.unlabeled_sets.settings import COMPACT, SPREAD, Setting
from benchmarks.unlabeled_sets.spec import SPEC, SuiteSpec, read_spec

RUN = "python -m benchmarks.unlabeled_sets.run"
NOT_RUN = f"Not run yet: `{RUN}`."
GROUPS = (
    "natural",
    "long tail",
    "80:20",
    "95:5",
    "99:1",
    "spread outliers",
    "compact outliers",
)


def unlabeled_sets(root: Path) -> str:
    """Return the section of the results page: accuracy, then confidence and outliers."""
    spec, results = _load(root)
    if not results:
        return NOT_RUN
    summaries = aggregate.summarize(results, spec)
    plot = records_path(spec, RESULTS).with_suffix(".png")
    most = max(result.n_draws for result in results)
    about = " ".join(spec.about.split())
    return (
        f"{about} {len(results)} settings, up to {most} draws. Command: `{RUN}`; file: "
        f"`{records_path(spec).as_posix()}`.\n\n"
        f"Accuracy in %. Distance: mean distance to the best single method of each setting, in "
        f"points. Below: settings in which the method is more than one point below the best of "
        f"{_references(spec)}, beyond the 95 % interval of the paired difference.\n\n"
        f"{accuracy_table(summaries)}\n\n"
        f"Confidence of the predictions, and AUROC of members against outliers by the membership "
        f"score.\n\n{confidence_table(summaries)}\n\n"
        f"![Distance of each method to the best]({plot.relative_to('benchmarks').as_posix()})\n\n"
        f"What each method does to the features:\n\n{_features(spec, results)}"
    )


def situations(root: Path) -> str:
    """Return the best methods by number of labels and class balance."""
    return _best_table(root, "partially labeled set", _situation)


def kinds_of_data(root: Path) -> str:
    """Return the best methods by data set."""
    return _best_table(root, "data set", lambda setting: setting.dataset)


def accuracy_table(summaries: Sequence[MethodSummary]) -> str:
    """Return accuracy by group and over all settings, distances and the worst setting."""
    groups = [name for name in GROUPS if name in summaries[0].by_group]
    rows = []
    for summary in sorted(summaries, key=lambda summary: -summary.accuracy):
        by_group = [percent(summary.by_group[name]) for name in groups]
        worst = f"{_points(summary.worst_difference)}<br>{summary.worst_setting}"
        all_settings = [percent(summary.accuracy), f"{100 * summary.distance:.1f}"]
        rows.append([summary.name, *by_group, *all_settings, str(summary.n_below), worst])
    return markdown(["", *groups, "all", "distance", "below", "worst setting"], rows)


def confidence_table(summaries: Sequence[MethodSummary]) -> str:
    """Return calibration, outlier detection and time."""
    head = [
        "",
        "accuracy, %",
        "mean confidence, %",
        "calibration error",
        "share at ≥ 0.9, %",
        "accuracy at ≥ 0.9, %",
        "AUROC, spread",
        "AUROC, compact",
        "seconds (median)",
    ]
    ordered = sorted(summaries, key=lambda summary: summary.calibration_error)
    return markdown(head, [_confidence_row(summary) for summary in ordered])


def percent(value: float) -> str:
    """Return a fraction in percent; a dash for NaN."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def _confidence_row(summary: MethodSummary) -> list[str]:
    return [
        summary.name,
        percent(summary.accuracy),
        percent(summary.confidence),
        f"{summary.calibration_error:.3f}",
        percent(summary.confident_share),
        percent(summary.confident_accuracy),
        _area(summary, SPREAD),
        _area(summary, COMPACT),
        f"{summary.seconds:.2f}",
    ]


def _best_table(root: Path, title: str, group: Callable[[Setting], str]) -> str:
    spec, results = _load(root)
    if not results:
        return NOT_RUN
    rows = []
    for best in aggregate.best_by_group(results, spec, group):
        default = "–" if best.default is None else percent(best.default)
        method, baseline = (
            f"{name}, {percent(value)}" for name, value in (best.best, best.reference)
        )
        rows.append([best.group, str(best.n_settings), default, method, baseline])
    rows.sort(key=lambda row: _order(row[0]))
    return markdown([title, "settings", "default", "best single method", "best baseline"], rows)


def _situation(setting: Setting) -> str:
    labels = f"{setting.shots} label{'s' if setting.shots > 1 else ''} per class"
    return f"{aggregate.group_of(setting)}, {labels}"


def _order(name: str) -> tuple[int, int, str]:
    """Order situations as `GROUPS`, then by the number of labels; data sets by name."""
    group, _, labels = name.partition(", ")
    if group not in GROUPS:
        return len(GROUPS), 0, name
    return GROUPS.index(group), int(labels.split()[0]), name


def _load(root: Path) -> tuple[SuiteSpec, list[SettingResult]]:
    spec = read_spec(root / SPEC)
    records = read(records_path(spec, root / RESULTS))
    return spec, aggregate.setting_results(records, aggregate.measured_methods(spec, records))


def _references(spec: SuiteSpec) -> str:
    return ", ".join(row.name for row in spec.methods if row.reference)


def _features(spec: SuiteSpec, results: Sequence[SettingResult]) -> str:
    measured = results[0].measures
    rows = [[row.name, row.features] for row in spec.methods if row.name in measured]
    lines = ["| method | features |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {name} | {features} |" for name, features in rows)])


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")


def _area(summary: MethodSummary, kind: str) -> str:
    return f"{summary.auroc[kind]:.3f}" if kind in summary.auroc else "–"
