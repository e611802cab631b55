"""Most memory that EGNN takes to answer, against the naive form of it: each in a process of its own (Linux).

Run: python -m benchmarks.speed.memory --out benchmarks/speed/results/memory.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks import files
from benchmarks.speed import clock, egnn, naive, shapes

WAY = 5
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def held(name: str) -> int:
    """Bytes of a line of this process's status."""
    line = next(line for line in STATUS.read_text(encoding="utf-8").splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def one(form: str, nodes: int) -> dict[str, float]:
    """One answer of the form to an episode of so many nodes, half of them queries: bytes above what was held before."""
    batch, _ = shapes.episode(WAY, nodes // (2 * WAY), nodes // (2 * WAY), 1)
    model = egnn.model().eval()
    small, _ = shapes.episode(WAY, 1, 1, 1)
    with torch.no_grad():
        if form == "naive":
            slow = naive.from_model(model)
            slow(*naive.tensors(small))
            before, began = _begin()
            slow(*naive.tensors(batch))
        else:
            model.answer(small)
            before, began = _begin()
            model.answer(batch)
    return {"bytes": held("VmHWM") - before, "process_bytes": held("VmHWM"), "seconds": time.perf_counter() - began}


def _begin() -> tuple[int, float]:
    CLEAR.write_text("5", encoding="ascii")
    return held("VmRSS"), time.perf_counter()


def apart(form: str, nodes: int) -> dict[str, float]:
    """`one` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.speed.memory", "--form", form, "--nodes", str(nodes)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(answer.stdout)
    return measured


def main() -> None:
    """Measure, print, and write the result beside first and then renamed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--form", choices=["naive", "graphfew"])
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.form:
        print(json.dumps(one(arguments.form, arguments.nodes)))
        return
    cells = {f"{form}, {nodes} nodes": apart(form, nodes)
             for form, nodes in (("naive", 400), ("graphfew", 400), ("graphfew", 4000))}
    part = cells["graphfew, 400 nodes"]["bytes"] / cells["naive, 400 nodes"]["bytes"]
    result = {"cells": cells, "share_at_400": part, **clock.machine()}
    print(json.dumps(result, indent=1))
    if arguments.out:
        files.write(arguments.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
