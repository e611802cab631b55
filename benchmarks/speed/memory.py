"""Most memory that EGNN takes to answer and to learn, against its naive form: each in a process of its own (Linux).

Run: python -m benchmarks.speed.memory --out benchmarks/speed/results/memory.json
"""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

import torch

import graphfew as gf
from benchmarks import files
from benchmarks.speed import clock, egnn, naive, shapes

WAY = 5
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def held(name: str) -> int:
    """Bytes of a line of this process's status."""
    line = next(
        line
        for line in STATUS.read_text(encoding="utf-8").splitlines()
        if line.startswith(f"{name}:")
    )
    return int(line.split()[1]) * 1024


def one(form: str, nodes: int) -> dict[str, float]:
    """An answer, or a training step, on an episode of so many nodes, half of them queries: bytes above those before."""
    call = FORMS[form]
    call(WAY * 2)
    CLEAR.write_text("5", encoding="ascii")
    before, began = held("VmRSS"), time.perf_counter()
    call(nodes)
    return {
        "bytes": held("VmHWM") - before,
        "process_bytes": held("VmHWM"),
        "seconds": time.perf_counter() - began,
    }


def episode(nodes: int) -> tuple[gf.Episode, torch.Tensor]:
    """One task."""
    return shapes.episode(WAY, nodes // (2 * WAY), nodes // (2 * WAY), 1)


def answer(nodes: int) -> None:
    """The library's answer."""
    with torch.no_grad():
        egnn.model().eval().predict_logits(episode(nodes)[0])


def naive_answer(nodes: int) -> None:
    """The naive form's."""
    with torch.no_grad():
        naive.from_model(egnn.model().eval())(*naive.tensors(episode(nodes)[0]))


def step(nodes: int, recompute: bool = False) -> None:
    """The library's training step."""
    batch, target = episode(nodes)
    model = egnn.model()
    with gf.nn.activation_checkpointing(model) if recompute else nullcontext():
        egnn.library_step(model, batch, target)()


def naive_step(nodes: int) -> None:
    """The naive form's."""
    batch, target = episode(nodes)
    egnn.naive_step(naive.from_model(egnn.model()), batch, target)()


FORMS: Mapping[str, Callable[[int], None]] = {
    "naive": naive_answer,
    "graphfew": answer,
    "naive, a training step": naive_step,
    "graphfew, a training step": step,
    "graphfew, a training step, recomputed": functools.partial(step, recompute=True),
}
MEASURED = (
    ("naive", 400),
    ("graphfew", 400),
    ("graphfew", 4000),
    ("naive, a training step", 400),
    ("graphfew, a training step", 400),
    ("graphfew, a training step, recomputed", 400),
)


def apart(form: str, nodes: int) -> dict[str, float]:
    """`one` in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.speed.memory",
        "--form",
        form,
        "--nodes",
        str(nodes),
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(answer.stdout)
    return measured


def main() -> None:
    """Measure, print, and write the result beside first and then renamed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--form", choices=FORMS)
    parser.add_argument("--nodes", type=int)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.form:
        print(json.dumps(one(arguments.form, arguments.nodes)))
        return
    cells = {f"{form}, {nodes} nodes": apart(form, nodes) for form, nodes in MEASURED}
    part = cells["graphfew, 400 nodes"]["bytes"] / cells["naive, 400 nodes"]["bytes"]
    result = {"cells": cells, "share_at_400": part, **clock.machine()}
    print(json.dumps(result, indent=1))
    if arguments.out:
        files.write(arguments.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
