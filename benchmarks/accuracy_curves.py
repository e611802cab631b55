"""Accuracy against inner steps and against shots, of trained runs and of heads on one encoder.

Each measurement is appended to a file of JSON lines when it is done; a second run skips those that
are recorded. The plot is drawn from the file.

Run: python -m benchmarks.accuracy_curves --data omniglot --encoder RUNS/prototypical-seed0 \
    --heads prototypical ridge linear_head --runs anil=RUNS/anil-seed0 maml=RUNS/maml-seed0 \
    --out benchmarks/results/curves/omniglot.jsonl
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

import graphfew as gf

DATA = {"omniglot": gf.data.omniglot, "cifar-fs": gf.data.cifar_fs, "glyphs": gf.data.glyphs}
SHOTS, STEPS = (1, 2, 3, 5, 10, 15, 20), (1, 2, 3, 5, 10, 20)
QUERIES = {"omniglot": 5, "cifar-fs": 15, "glyphs": 3}
WAY = 5
Row = dict[str, Any]


def load_models(
    runs: Mapping[str, Path], encoder: Path | None, heads: Sequence[str]
) -> dict[str, gf.GraphMethod]:
    """Load trained models, and build heads on the encoder of a trained model."""
    models = {name: gf.load(folder).eval() for name, folder in runs.items()}
    if encoder is not None:
        trained = gf.load(encoder).encoder
        for head in heads:
            models[head] = gf.create(head, encoder=trained).eval()
    return models


def set_inner_steps(model: gf.GraphMethod, steps: int) -> bool:
    """Set the number of inner steps in evaluation; False for a method without an inner loop."""
    is_set = False
    for module in model.modules():
        # Loops on a classifier have a number of steps of their own for evaluation.
        if hasattr(module, "test_steps"):
            module.test_steps = steps
            is_set = True
        elif hasattr(module, "adapt_head"):
            module.steps = steps
            is_set = True
    return is_set


def inner_steps(model: gf.GraphMethod) -> int | None:
    """The number of inner steps in evaluation; None for a method without an inner loop."""
    for module in model.modules():
        if hasattr(module, "test_steps"):
            return int(module.test_steps)
        if hasattr(module, "adapt_head"):
            return int(module.steps)
    return None


def measurements(
    models: Mapping[str, gf.GraphMethod], max_shot: int
) -> Iterator[tuple[str, int, int | None]]:
    """Name, shots and inner steps of every measurement."""
    for name, model in models.items():
        trained_steps = inner_steps(model)
        for shot in SHOTS:
            if shot <= max_shot:
                yield name, shot, trained_steps
        if trained_steps is None:
            continue
        for shot in (1, 5):
            for steps in STEPS:
                if steps != trained_steps:
                    yield name, shot, steps


def measure(
    models: Mapping[str, gf.GraphMethod],
    data: gf.data.Dataset,
    queries: int,
    n_tasks: int,
    out: Path,
) -> None:
    """Append the accuracies that the file does not have yet."""
    recorded = {_key(row) for row in read(out)}
    protocol = {"way": WAY, "queries_per_class": queries, "tasks": n_tasks}
    # A class of Omniglot has 20 items, for supports and queries.
    max_shot = int(data.y.bincount().min()) - queries
    for name, shot, steps in measurements(models, max_shot):
        row: Row = {"method": name, "shot": shot, "steps": steps, **protocol}
        if _key(row) in recorded:
            continue
        model = models[name]
        trained_steps = inner_steps(model)
        if steps is not None:
            set_inner_steps(model, steps)
        tasks = gf.Tasks(data, way=WAY, shot=shot, query=queries, seed=0)
        result = gf.evaluate(model, tasks, n_tasks)
        if trained_steps is not None:
            set_inner_steps(model, trained_steps)
        row |= {"mean": result.mean, "half_width": result.half_width}
        row["is_trained_steps"] = steps == trained_steps
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{name}, {shot} shots, {steps} steps: {100 * result.mean:.2f} %", flush=True)


def read(path: Path) -> list[Row]:
    """The recorded measurements."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(
        row[name] for name in ("method", "shot", "steps", "way", "queries_per_class", "tasks")
    )


def plot(rows: Sequence[Row]) -> Figure:
    """Accuracy against shots, and against inner steps for 1 and 5 shots."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    by_shot, by_step = figure.subplots(1, 2)
    for index, name in enumerate(dict.fromkeys(row["method"] for row in rows)):
        own = [row for row in rows if row["method"] == name]
        color = f"C{index}"
        shots = [row for row in own if row["is_trained_steps"]]
        _curve(by_shot, shots, "shot", label=name, color=color)
        for shot, style in ((1, "--"), (5, "-")):
            steps = [row for row in own if row["shot"] == shot and row["steps"] is not None]
            if steps:
                label = f"{name}, {shot}-shot"
                _curve(by_step, steps, "steps", label=label, color=color, linestyle=style)
    panels = (by_shot, "supports per class", SHOTS), (by_step, "inner steps", STEPS)
    for axes, title, ticks in panels:
        axes.set_xlabel(title)
        axes.set_ylabel("accuracy in %")
        axes.set_xscale("log")
        axes.set_xticks(ticks, labels=[str(tick) for tick in ticks])
        axes.minorticks_off()
        if axes.lines:
            axes.legend(fontsize="small")
    return figure


def _curve(axes: Any, rows: Sequence[Row], field: str, **style: Any) -> None:
    ordered = sorted(rows, key=lambda row: row[field])
    axes.errorbar(
        [row[field] for row in ordered],
        [100 * row["mean"] for row in ordered],
        [100 * row["half_width"] for row in ordered],
        marker="o",
        markersize=3,
        capsize=2,
        **style,
    )


def named_folder(text: str) -> tuple[str, Path]:
    """Parse `NAME=FOLDER`."""
    name, separator, folder = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER")
    return name, Path(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, and draw the plot next to the records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=sorted(DATA), required=True)
    parser.add_argument("--encoder", type=Path, help="run whose encoder the heads share")
    parser.add_argument("--heads", nargs="*", default=["prototypical", "ridge", "linear_head"])
    parser.add_argument("--runs", nargs="*", type=named_folder, default=[])
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    models = load_models(dict(options.runs), options.encoder, options.heads)
    data = DATA[options.data](split="test")
    measure(models, data, QUERIES[options.data], options.tasks, options.out)
    plot(read(options.out)).savefig(options.out.with_suffix(".svg"))


if __name__ == "__main__":
    main()
