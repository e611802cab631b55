"""Labels and predictions on Dask workers: the same as in one process, throughput, and a worker killed midway.

Run: OMP_NUM_THREADS=1 python -m benchmarks.scale.dask_labels
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet

import graphfew as gf
from benchmarks import files
from benchmarks.speed import clock
from graphfew.dask import FolderOptions, dask_client, label_parquet, predict_parquet

OUT = Path("benchmarks/scale/results/dask.json")
CLASSES, DIM, LABELS, NOISE = 20, 64, 3, 1.6
METHODS = ("poisson", "label_propagation", "label_spreading")


def features(
    n_items: int,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Features `[n, DIM]` around class centers, the classes, and the given labels (-1 if unknown)."""
    generator = np.random.default_rng(0)
    centers = generator.standard_normal((CLASSES, DIM)) / DIM**0.5
    truth = np.arange(n_items) % CLASSES
    x = centers[truth] + NOISE / DIM**0.5 * generator.standard_normal((n_items, DIM))
    given = np.where(np.arange(n_items) < CLASSES * LABELS, truth, -1)
    return x.astype(np.float32), truth, given


def write_folder(folder: Path, n_items: int, n_files: int) -> None:
    """Write the items as Parquet files."""
    x, _, given = features(n_items)
    folder.mkdir()
    for number, rows in enumerate(np.array_split(np.arange(n_items), n_files)):
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(x[rows].ravel()), DIM)
        label = pa.array(given[rows], mask=given[rows] < 0)
        parquet.write_table(
            pa.table({"x": vectors, "label": label}), folder / f"{number:03}.parquet"
        )


def transferred(client: Any) -> int:
    """Bytes that the workers received from each other."""

    def received(dask_worker: Any) -> int:
        return sum(entry["total"] for entry in dask_worker.transfer_incoming_log)

    return sum(client.run(received).values())


def same_labels(client: Any, folder: Path, scratch: Path, n_items: int) -> dict[str, object]:
    """Share of items whose label is that of `FewShotClassifier`, seconds, and bytes between workers."""
    x, truth, given = features(n_items)
    rows: dict[str, object] = {}
    for method in METHODS:
        begin = time.perf_counter()
        expected = gf.FewShotClassifier(method).fit(x, given)
        single = time.perf_counter() - begin
        before = transferred(client)
        begin = time.perf_counter()
        options = FolderOptions(method=method, exact=True)
        label_parquet(client, folder, scratch / method, options=options)
        seconds = time.perf_counter() - begin
        table = parquet.read_table(scratch / method)
        label = table["label"].to_numpy(zero_copy_only=False).astype(int)
        probs = expected.label_distributions_.max(1)
        difference = np.abs(table["confidence"].to_numpy() - probs)
        rows[method] = {
            "same_labels": float((label == expected.transduction_).mean()),
            "largest_difference_of_confidence": float(difference.max()),
            "accuracy": float((label == truth)[given < 0].mean()),
            "seconds_of_one_process": single,
            "seconds": seconds,
            "bytes_between_workers_per_item": (transferred(client) - before) / n_items,
        }
    return rows


def throughput(folder: Path, scratch: Path, n_items: int, n_fit: int) -> dict[str, float]:
    """Items that `predict_parquet` predicts per second with one and two workers, without their start."""
    x, _, given = features(n_items)
    classifier = gf.FewShotClassifier().fit(x[:n_fit], given[:n_fit])
    rates = {}
    for n_workers in (1, 2):
        with dask_client(n_workers=n_workers) as client:
            warm_up = scratch / f"warm-up-{n_workers}"
            predict_parquet(classifier, folder, warm_up, client=client, label="label")
            begin = time.perf_counter()
            out = scratch / f"predicted-{n_workers}"
            predict_parquet(classifier, folder, out, client=client, label="label")
            rates[f"{n_workers} workers"] = n_items / (time.perf_counter() - begin)
    rates["two workers over one"] = rates["2 workers"] / rates["1 workers"]
    return rates


def killed_worker(folder: Path, scratch: Path, n_items: int, n_fit: int) -> dict[str, object]:
    """Predict while one of two workers is killed after the first file; compare with the run before."""
    x, _, given = features(n_items)
    classifier = gf.FewShotClassifier().fit(x[:n_fit], given[:n_fit])
    killed: list[int] = []
    out = scratch / "killed"
    with dask_client(n_workers=2) as client:

        def kill(done: int) -> None:
            if not killed:
                killed.append(next(iter(client.run(os.getpid).values())))
                os.kill(killed[0], signal.SIGKILL)

        summary = predict_parquet(
            classifier, folder, out, client=client, label="label", progress=kill
        )
    expected = parquet.read_table(scratch / "predicted-2")
    return {
        "killed_after_files": 1,
        "files_written": summary.n_written,
        "same_labels": parquet.read_table(out)["label"].equals(expected["label"]),
        "temporary_files_left": len([path for path in out.iterdir() if path.name[0] == "."]),
    }


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graph-items", type=int, default=4000)
    parser.add_argument("--items", type=int, default=40_000)
    parser.add_argument("--fit-items", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    # The workers read it at their start: by default their logs forget most transfers.
    os.environ["DASK_DISTRIBUTED__ADMIN__LOW_LEVEL_LOG_LENGTH"] = "1000000"
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        write_folder(scratch / "graph", given.graph_items, 4)
        write_folder(scratch / "items", given.items, 16)
        with dask_client(n_workers=2) as client:
            graphs = same_labels(client, scratch / "graph", scratch, given.graph_items)
        print(json.dumps(graphs), flush=True)
        arguments = (scratch / "items", scratch, given.items, given.fit_items)
        rates = throughput(*arguments)
        print(json.dumps(rates), flush=True)
        killed = killed_worker(*arguments)
    result = {
        "command": "python -m benchmarks.scale.dask_labels",
        "graphs": graphs,
        "predict_items_per_second": rates,
        "killed_worker": killed,
        **clock.machine(),
        "load_of_the_machine": os.getloadavg()[0],
        "setting": {
            "graph_items": given.graph_items,
            "items": given.items,
            "fit_items": given.fit_items,
            "classes": CLASSES,
            "dim": DIM,
            "labels_per_class": LABELS,
            "noise": NOISE,
        },
        "torch": torch.__version__,
    }
    print(json.dumps(killed), flush=True)
    files.write(given.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
