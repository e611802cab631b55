"""Makes the checkpoints that come with the library, and their cards, from finished runs: `python -m benchmarks.cards`.

Each is the best checkpoint of a run of a spec, copied as it is. Its card tells what the checkpoint's own header and the
results files tell, and nothing else.
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
from graphfew.benchmark import Record, read

RESULTS = Path("benchmarks/results")
SHIPPED = Path("graphfew/serialization/pretrained")
MOST = 5_000_000
# What of a checkpoint's provenance a card tells in words of its own, or need not tell.
ELSEWHERE = (
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
    "each turned four ways. No image is in the checkpoint."
)


@dataclasses.dataclass(frozen=True)
class Shipped:
    """A checkpoint to ship: its name, the run that it comes from, and the rows of the results that are its own."""

    name: str
    benchmark: str
    training: str
    seed: int
    row: str
    data: str
    limits: str


CHECKPOINTS = (
    Shipped(
        "prototypical-omniglot",
        "omniglot",
        "prototypical",
        0,
        "prototypical",
        OMNIGLOT,
        "Handwritten characters, bright on black, 28×28; nothing is known of its features on other images.",
    ),
    Shipped(
        "egnn-omniglot",
        "omniglot",
        "egnn",
        0,
        "egnn",
        OMNIGLOT,
        "Handwritten characters, bright on black, 28×28. Trained on 5 ways, 1 shot and up to 150 queries; any way "
        "and shot are answered, but with many ways it may fall behind prototypes (see the table).",
    ),
    Shipped(
        "gnn-omniglot",
        "omniglot",
        "gnn",
        0,
        "gnn",
        OMNIGLOT,
        "Handwritten characters, bright on black, 28×28; five ways exactly, any shot.",
    ),
)


def card(entry: Shipped, model: gf.GraphMethod, records: Sequence[Record]) -> str:
    """The model card as Markdown. Raises ValueError where no result is of this checkpoint."""
    own = [
        r
        for r in records
        if r.row == entry.row
        and r.seed == entry.seed
        and r.training
        and r.training[-1]["name"] == entry.training
        and not r.result.tasks["unlabeled"]
    ]
    if not own:
        raise ValueError(
            f"{entry.name}: no result of row {entry.row!r}, seed {entry.seed}; run the spec first"
        )
    facts, recipe = model.provenance, model.spec
    lines = [
        f"# {entry.name}",
        "",
        f'`gf.load("{entry.name}")`: {recipe.name} on `{recipe.arguments["encoder"]["name"]}`.',
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
    lines += [_line(record) for record in sorted(own, key=_order)]
    return "\n".join([*lines, "", f"**Limits.** {entry.limits}", ""])


def _training(facts: Mapping[str, Any]) -> str:
    tasks = ", ".join(
        f"{name} {value}"
        for name, value in facts["training_tasks"].items()
        if value not in (0, False)
    )
    start = facts.get("init_encoder")
    frozen = "an encoder that was kept as it was" if facts["encoder_frozen"] else "this start"
    origin = f" From {frozen}: {_training(start)}" if start else ""
    return (
        f"{facts['steps']:,} steps of {facts['batch']} tasks of {facts['trained_on']} ({tasks})"
        f"{_told(facts)}.{origin}"
    )


def _told(facts: Mapping[str, Any]) -> str:
    told = [
        name if value is True else f"{name} {value}"
        for name, value in facts.items()
        if name not in ELSEWHERE
    ]
    return f", with {', '.join(told)}" if told else ""


def _order(record: Record) -> tuple[Any, ...]:
    tasks = record.result.tasks
    return str(record.result.mode), str(tasks["query"]), tasks["way"], tasks["shot"]


def _line(record: Record) -> str:
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
    """Copy and write what has been run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    for entry in CHECKPOINTS:
        best = (
            given.results
            / "runs"
            / entry.benchmark
            / f"{entry.training}-seed{entry.seed}"
            / "best.safetensors"
        )
        if not best.is_file():
            print(f"{entry.name}: no {best}, left as it is")
            continue
        if best.stat().st_size > MOST:
            raise SystemExit(
                f"{best} has {best.stat().st_size:,} bytes; a shipped checkpoint has {MOST:,} at most"
            )
        records, _ = read(given.results / f"{entry.benchmark}.jsonl")
        try:
            text = card(entry, gf.load(best), records)
        except ValueError as error:
            print(f"{error}; left as it is")
            continue
        shutil.copyfile(best, SHIPPED / f"{entry.name}.safetensors")
        files.write(SHIPPED / f"{entry.name}.md", text)
        print(f"{entry.name}: {type(gf.load(entry.name)).__name__}, {best.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
