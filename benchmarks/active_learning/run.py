"""Measure accuracy curves: `python -m benchmarks.active_learning.run`.

Each curve is recorded when it is complete, and a later run measures what is missing.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from benchmarks.active_learning import external, plan, records
from benchmarks.active_learning.curves import measure_curve
from benchmarks.active_learning.records import RESULTS, CurveKey
from benchmarks.unlabeled_sets.datasets import data_root, load_dataset
from benchmarks.unlabeled_sets.records import append_line, remove_incomplete_line
from graphfew.runs import environment


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing."""
    given = _parser().parse_args(arguments)
    remove_incomplete_line(given.out)
    done = records.read_curves(given.out)
    keys = [key for key in wanted_keys(given) if key not in done]
    if keys:
        command = sys.argv[1:] if arguments is None else arguments
        append_line(given.out, _header(command))
    # One thread, so that results do not depend on the machine's number of cores.
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for number, key in enumerate(keys, 1):
            begin = time.monotonic()
            data = load_dataset(key.dataset, data_root(given.root))
            x, target = plan.sample_items(data, key.dataset, key.draw)
            strategy = plan.CHOSEN[key.strategy]
            curve = measure_curve(x, target, key.dataset, key.draw, strategy)
            records.append_curve(given.out, key, curve)
            mean = 100 * sum(curve.accuracy) / len(curve.accuracy)
            seconds = time.monotonic() - begin
            print(f"[{number}/{len(keys)}] {key}: mean {mean:.1f} %, {seconds:.0f} s", flush=True)
    return 0


def wanted_keys(given: argparse.Namespace) -> Iterator[CurveKey]:
    """Yield the curves strategy by strategy, so that an interrupted run has all data sets."""
    for strategy in given.strategies or plan.CHOSEN:
        if strategy in external.STRATEGIES and not external.is_available():
            print(f"skipped {strategy}: scikit-activeml is not installed")
            continue
        for draw in range(given.draws):
            for dataset in given.only or plan.DATASETS:
                yield CurveKey(strategy, dataset, draw)


def _header(arguments: Sequence[str]) -> dict[str, object]:
    return {
        "command": shlex.join(["python", "-m", "benchmarks.active_learning.run", *arguments]),
        "commit": environment.package_commit(),
        "versions": environment.versions(),
        "machine": environment.machine_name(torch.device("cpu")),
        "time": environment.utc_now(),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="the records")
    parser.add_argument("--root", help="folder of the data sets; default: GRAPHFEW_DATA")
    parser.add_argument("--draws", type=int, default=plan.DRAWS, help="number of draws")
    parser.add_argument("--only", nargs="+", choices=plan.DATASETS, help="data sets to run")
    parser.add_argument("--strategies", nargs="+", choices=tuple(plan.CHOSEN))
    return parser


if __name__ == "__main__":
    sys.exit(main())
