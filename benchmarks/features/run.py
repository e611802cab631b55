"""Every method that needs no training, on CLINC150's and CIFAR-FS's features: `python -m benchmarks.features.run`.

Each cell (data, shots, how queries are drawn, method) is a JSON file, written when it is done; finished ones are
skipped.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

from rich.progress import Progress

import graphfew as gf
from benchmarks import files
from benchmarks.features import rows, sources

RESULTS = Path("benchmarks/features/results")
BALANCED, UNEVEN = "15", "dirichlet:75:2.0"
OTHER = ("multinomial:75", "single-class:75")
POWER = {"power": 1.0}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One row on one kind of tasks; `key` names its file."""

    table: str
    shot: int
    query: str
    row: rows.Row
    tasks: gf.Tasks
    count: int

    @property
    def key(self) -> str:
        """`table/shot-query/row`, in characters that any file system takes."""
        name = "".join(c if c.isalnum() else "-" for c in self.row.name.lower().replace("α", "alpha"))
        return f"{self.table}/{self.shot}shot-{self.query.replace(':', '-')}/{name}.json"


def cells(root: Path, count: int, wide: int) -> Iterator[Cell]:
    """Everything that the tables show. `count` tasks of 5 classes, `wide` of all classes at once."""
    test, validation = (sources.cifar_fs(root, split) for split in ("test", "val"))
    clinc = sources.clinc150(root)
    cifar_rows = [*rows.inductive(sources.centre(validation)), *rows.transductive(POWER)]
    clinc_rows = [*rows.inductive(None), *rows.transductive({})]
    for table, data, listed in (("clinc150", clinc, clinc_rows), ("cifar-fs", test, cifar_rows)):
        for shot in (1, 5):
            for query in (BALANCED, UNEVEN):
                tasks = gf.Tasks(data, way=5, shot=shot, query=gf.data.parse(query), seed=0)
                yield from (Cell(table, shot, query, row, tasks, count) for row in listed)
            for query in OTHER:
                tasks = gf.Tasks(data, way=5, shot=shot, query=gf.data.parse(query), seed=0)
                told = (row for row in listed if row.assumes == rows.NOTHING)
                yield from (Cell(table, shot, query, row, tasks, count) for row in told
                            if row.name == "nearest class mean" or (gf.METHODS[row.method].transductive
                            and row.arguments.get("transductive", True)))
    everything = gf.Tasks(clinc, way=150, shot=1, query=15, seed=0)
    whole = ("nearest class mean", "label spreading", "PT-MAP", "PT-MAP, even", "propagated prototypes",
             "propagated prototypes, even")
    yield from (Cell("clinc150-all", 1, BALANCED, row, everything, wide) for row in clinc_rows if row.name in whole)


def run(cell: Cell, out: Path) -> None:
    """Evaluate the cell and write its file beside, then in place."""
    result = gf.evaluate(cell.row.build(int(cell.tasks.data.x.shape[1])), cell.tasks, n=cell.count,
                         batch=16 if cell.table != "clinc150-all" else 1)
    content = {"command": "python -m benchmarks.features.run", "name": cell.row.name, "assumes": cell.row.assumes,
               **result.to_json()}
    files.write(out / cell.key, json.dumps(content, separators=(",", ":"), default=str) + "\n")


def main() -> None:
    """Run what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", help="folder with clinc150/ and cifar100/; GRAPHFEW_DATA where it is left out")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--wide", type=int, default=20, help="tasks of all 150 classes")
    given = parser.parse_args()
    todo = [c for c in cells(sources.folder(given.root), given.tasks, given.wide) if not (given.out / c.key).exists()]
    with Progress() as progress:
        bar = progress.add_task("features", total=len(todo))
        for cell in todo:
            progress.update(bar, description=cell.key)
            run(cell, given.out)
            progress.advance(bar)


if __name__ == "__main__":
    main()
