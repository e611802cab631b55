"""Copy pretrained checkpoints and write their model cards from finished runs: `python -m benchmarks.cards`.

Each is an unchanged copy of the best checkpoint of a run. Its card is made from the checkpoint's
header and the results files alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import graphfew as gf
from benchmarks import files
from graphfew.benchmark import BenchmarkRecord, read_records

RESULTS = Path("benchmarks/results")
PRETRAINED = Path("graphfew/serialization/pretrained")
MAX_BYTES = 5_000_000
# Fields of the provenance that a card states in its own words or leaves out.
STATED = (
    "training_seed",
    "trained_on",
    "training_tasks",
    "training_loss",
    "steps",
    "batch",
    "encoder_frozen",
    "selected_on",
    "step_selected",
    "init_encoder",
    "checkpoint",
    "sha256",
)
OMNIGLOT = (
    "Omniglot, Brenden Lake, MIT license (github.com/brendenlake/omniglot); Vinyals' split: 1,028 characters, "
    "each in four rotations. The checkpoint contains no images."
)


@dataclasses.dataclass(frozen=True)
class CardSource:
    """A pretrained checkpoint: its name, the run that it comes from, and its row of the results."""

    name: str
    benchmark: str
    training: str
    seed: int
    row: str
    data: str
    limits: str


CHECKPOINTS = (
    CardSource(
        "prototypical-omniglot",
        "omniglot",
        "prototypical",
        0,
        "prototypical",
        OMNIGLOT,
        "Handwritten characters, bright on black, 28×28; not tested on other images.",
    ),
    CardSource(
        "egnn-omniglot",
        "omniglot",
        "egnn",
        0,
        "egnn",
        OMNIGLOT,
        "Handwritten characters, bright on black, 28×28. Trained on 5-way 1-shot tasks with up to 150 queries. It "
        "takes any way and shot, but with many ways it may be less accurate than prototypes (see the table).",
    ),
    CardSource(
        "gnn-omniglot",
        "omniglot",
        "gnn",
        0,
        "gnn",
        OMNIGLOT,
        "Handwritten characters, bright on black, 28×28; 5-way tasks only, any shot.",
    ),
)


def card(entry: CardSource, model: gf.GraphMethod, records: Sequence[BenchmarkRecord]) -> str:
    """The model card as Markdown. Raises ValueError if there is no result of this checkpoint."""
    matches = [
        r
        for r in records
        if r.row == entry.row
        and r.seed == entry.seed
        and r.training
        and r.training[-1]["name"] == entry.training
        and not r.result.tasks["unlabeled"]
    ]
    if not matches:
        raise ValueError(
            f"{entry.name}: no result of row {entry.row!r}, seed {entry.seed}; run the spec first"
        )
    facts, spec = model.provenance, model.spec
    lines = [
        f"# {entry.name}",
        "",
        f'`gf.load("{entry.name}")`: {spec.name} on `{spec.arguments["encoder"]["name"]}`.',
        "",
        f"**Data.** {entry.data}",
        "",
        f"**Training.** {_training(facts)} Seed {facts['training_seed']}; selected on {facts['selected_on']} "
        f"(step {facts['step_selected']:,}).",
        "",
        f'**Command.** `graphfew bench benchmarks/specs/{entry.benchmark}.toml --only "{entry.row}"`',
        "",
        "**Accuracy**, test classes, 95 % intervals over tasks:",
        "",
        "| mode | way | shot | queries | tasks | accuracy in % |",
        "| --- | ---: | ---: | --- | ---: | ---: |",
    ]
    lines += [_line(record) for record in sorted(matches, key=_order)]
    return "\n".join([*lines, "", f"**Limits.** {entry.limits}", ""])


def _training(facts: Mapping[str, Any]) -> str:
    tasks = ", ".join(
        f"{name} {value}"
        for name, value in facts["training_tasks"].items()
        if value not in (0, False)
    )
    start = facts.get("init_encoder")
    batch = "1 task" if facts["batch"] == 1 else f"{facts['batch']} tasks"
    text = (
        f"{facts['steps']:,} steps of {batch} of {facts['trained_on']} ({tasks}){_options(facts)}."
    )
    if start:
        role = "Frozen encoder" if facts["encoder_frozen"] else "Initial weights"
        text = f"{text} {role}: {_training(start)}"
    return text


def _options(facts: Mapping[str, Any]) -> str:
    options = [
        name if value is True else f"{name} {value}"
        for name, value in facts.items()
        if name not in STATED
    ]
    return f", with {', '.join(options)}" if options else ""


def _order(record: BenchmarkRecord) -> tuple[Any, ...]:
    tasks = record.result.tasks
    return str(record.result.mode), str(tasks["query"]), tasks["way"], tasks["shot"]


def _line(record: BenchmarkRecord) -> str:
    result = record.result
    cells = (
        result.mode,
        result.tasks["way"],
        result.tasks["shot"],
        result.tasks["query"],
        f"{len(result.per_task):,}",
        f"{100 * result.mean:.2f} ± {100 * result.half_width:.2f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Copy the checkpoints of finished runs and write their cards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    for entry in CHECKPOINTS:
        best = (
            options.results
            / "runs"
            / entry.benchmark
            / f"{entry.training}-seed{entry.seed}"
            / "best.safetensors"
        )
        if not best.is_file():
            print(f"{entry.name}: {best} does not exist; left unchanged")
            continue
        if best.stat().st_size > MAX_BYTES:
            raise SystemExit(
                f"{best} has {best.stat().st_size:,} bytes; a pretrained checkpoint may have at most {MAX_BYTES:,}"
            )
        records, _ = read_records(options.results / f"{entry.benchmark}.jsonl")
        try:
            text = card(entry, gf.load(best), records)
        except ValueError as error:
            print(f"{error}; left unchanged")
            continue
        shutil.copyfile(best, PRETRAINED / f"{entry.name}.safetensors")
        files.write(PRETRAINED / f"{entry.name}.md", text)
        print(f"{entry.name}: {type(gf.load(entry.name)).__name__}, {best.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
