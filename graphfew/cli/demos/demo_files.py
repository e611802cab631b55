"""What the demo writes: its results as JSON and two pictures."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graphfew._utils.atomic_io import atomic_replace, write_text
from graphfew._utils.model_spec import JSON
from graphfew.cli.demos.few_labels import LabelingResult
from graphfew.cli.demos.unseen_scripts import EpisodeResult, episode_tasks
from graphfew.data.dataset import Dataset
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import GraphMethod
from graphfew.visualization.episode_graph import plot_before_after

# A task of the test glyphs whose picture is easy to read.
PLOTTED_TASK = 3
GRAPHFEW_COLOR, OTHER_COLOR = "#0072B2", "#999999"
PACKAGES = ("graphfew", "torch", "torch-geometric", "numpy", "scipy", "scikit-learn")


@dataclasses.dataclass(frozen=True)
class DemoRecord:
    """Everything that the demo measured.

    Attributes:
        seed: seed of draws, training and tasks.
        plan: sizes of the demo.
        seconds: wall time and processor time.
        labeling: results of the first part.
        episodes: results of the second part.
    """

    seed: int
    plan: dict[str, JSON]
    seconds: dict[str, float]
    labeling: list[LabelingResult]
    episodes: list[EpisodeResult]


def write_record(path: Path, record: DemoRecord) -> None:
    """Write the record with the command, machine and versions, one result per line."""
    header: dict[str, JSON] = {
        "command": f"graphfew demo --seed {record.seed}",
        "seed": record.seed,
        "plan": record.plan,
        "seconds": {name: round(value, 1) for name, value in record.seconds.items()},
        "machine": _machine(),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in PACKAGES},
    }
    labeling = [_labeling_json(result) for result in record.labeling]
    episodes = [
        {**dataclasses.asdict(result), "result": result.result.to_json()}
        for result in record.episodes
    ]
    # Each result has its own line, so that a diff of two runs shows which ones changed.
    parts = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in header.items()]
    parts += [_json_lines("labeling", labeling), _json_lines("episodes", episodes)]
    write_text(path, "{\n" + ",\n".join(parts) + "\n}\n")


def _json_lines(name: str, rows: list[dict[str, JSON]]) -> str:
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f"{json.dumps(name)}: [\n{lines}\n]"


def _labeling_json(result: LabelingResult) -> dict[str, JSON]:
    mean, half_width = result.interval()
    return {
        "data": result.data,
        "method": result.method,
        "mean": mean,
        "half_width": half_width,
        "accuracies": list(result.accuracies),
    }


def _machine() -> dict[str, JSON]:
    return {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor_name() -> str:
    # Linux only; `platform.processor()` is empty on most distributions.
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write_accuracy_plot(path: Path, record: DemoRecord) -> None:
    """Draw the accuracies of both parts with their intervals."""
    figure = Figure(figsize=(13, 4.8), layout="constrained")
    # `dict.fromkeys` drops duplicates in order, unlike a set.
    datasets = list(dict.fromkeys(result.data for result in record.labeling))
    axes = figure.subplots(1, len(datasets) + 1)
    # The last axes are left for the episodes.
    for ax, data in zip(axes, datasets, strict=False):
        bars = {r.method: r.interval() for r in record.labeling if r.data == data}
        _plot_bars(ax, f"One label per class:\n{data}", bars, highlight="graphfew")
        if ax is not axes[0]:
            ax.set_yticklabels([])
    one_shot = {
        f"{r.method}\n({r.training})": (r.result.mean, r.result.half_width)
        for r in record.episodes
        if r.shot == 1
    }
    _plot_bars(axes[-1], "Unseen scripts:\n5-way 1-shot", one_shot, highlight="EGNN")
    save_figure(figure, path)


def _plot_bars(ax: Axes, title: str, bars: dict[str, tuple[float, float]], highlight: str) -> None:
    means = [100 * mean for mean, _ in bars.values()]
    half_widths = [100 * half_width for _, half_width in bars.values()]
    colors = [GRAPHFEW_COLOR if name.startswith(highlight) else OTHER_COLOR for name in bars]
    drawn = ax.barh(list(bars), means, xerr=half_widths, color=colors, capsize=3)
    labels = [f"{mean:.1f}" for mean in means]
    ax.bar_label(drawn, labels, label_type="center", color="white", fontsize=8)
    # barh draws from bottom to top, but the first method belongs to the top.
    ax.invert_yaxis()
    ax.set_title(title, fontsize=10)
    ax.set_xlabel("accuracy in %")
    ax.set_xlim(0, 100)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(axis="y", labelsize=8)


def write_episode_plot(
    path: Path, egnn: GraphMethod, images: Dataset, features: Dataset, seed: int
) -> None:
    """Draw one test episode before and after the EGNN layers."""
    indices = range(PLOTTED_TASK, PLOTTED_TASK + 1)
    # Tasks depend on the seed and the classes only: the same items, as images and as features.
    image_episode, target = episode_tasks(images, 1, seed).batch(indices)
    episode, _ = episode_tasks(features, 1, seed).batch(indices)
    with eval_mode(egnn):
        output = egnn(episode)
    figure = plot_before_after(output, images=image_episode.x, target=target, seed=seed)
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically."""
    with atomic_replace(path) as temporary:
        # `format` is needed because the temporary file does not end in .png.
        figure.savefig(temporary, format="png", dpi=120)
