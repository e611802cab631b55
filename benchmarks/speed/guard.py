"""A short comparison with naive implementations for CI: fails if a speedup has halved.

Uses one thread and processor time: with several threads, other load slows small operations most.

Run: python -m benchmarks.speed.guard (--record to update the recorded speedups)
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Mapping
from pathlib import Path

import torch

import graphfew as gf
from benchmarks import files
from benchmarks.speed import clock, egnn, latency, naive, shapes

RECORDED = Path(__file__).parent / "results" / "guard.json"
REPEATS, GROSS = 7, 2.0


def ratios() -> dict[str, float]:
    """Speedup over the naive implementation of each part, on small shapes."""
    return {
        "EGNN, a training step": training(),
        "EGNN, answers together": answers(shapes.episode(5, 5, 15, 2)[0]),
        "EGNN, answers one by one": answers(shapes.episode(5, 5, 2, 1)[0].inductive()),
        "evaluation of images encoded once": encoding(),
        "prototypes, one episode": one_episode(),
    }


def training() -> float:
    """A training step on eight tasks of 30 nodes."""
    ours, (batch, target) = egnn.model(), shapes.episode(5, 5, 1, 8)
    slow = egnn.naive_step(naive.from_model(ours), batch, target)
    return _fast({"naive": slow, "graphfew": egnn.library_step(ours, batch, target)})


def answers(batch: gf.Episode) -> float:
    """Predictions for an episode."""
    ours = egnn.model().eval()
    calls = {
        "naive": functools.partial(naive.from_model(ours), *naive.tensors(batch)),
        "graphfew": functools.partial(ours.predict_logits, batch),
    }
    with torch.no_grad():
        return _fast(calls)


def encoding() -> float:
    """Forty tasks of glyphs, with images encoded per task, and once in advance."""
    model, data = (
        gf.create("prototypical", encoder=gf.backbones.conv4(width=16)).eval(),
        gf.data.glyphs(split="test"),
    )
    tasks = gf.data.Tasks(data, way=5, shot=5, query=15, seed=0)

    def once() -> None:
        features = gf.data.encode(data, model.encoder, progress=False)
        gf.evaluate(
            model.on_features(), gf.data.Tasks(features, way=5, shot=5, query=15, seed=0), 40
        )

    return _fast({"naive": lambda: gf.evaluate(model, tasks, 40, batch=1), "graphfew": once})


def one_episode() -> float:
    """One episode at a time from tensors to logits, with a plain loop over classes as naive form."""
    model = gf.create("prototypical", encoder=gf.backbones.identity(latency.DIM)).eval()
    x, y, query = latency.task()

    def plain() -> None:
        means = [x[y == label].mean(0) for label in y[y >= 0].unique()]
        torch.cdist(x[query], torch.stack(means)).square().neg()

    def library() -> None:
        _ = model(gf.Episode.single(x, y, query, way=latency.WAY)).logits

    forms = {"naive": plain, "graphfew": library}
    return _fast({name: latency.repeated(form, latency.CALLS) for name, form in forms.items()})


def _fast(calls: Mapping[str, clock.Call]) -> float:
    return clock.ratios(clock.interleaved(calls, REPEATS, time.process_time), "naive")["graphfew"]


def main() -> None:
    """Measure, print next to the recorded speedups, and fail if one has halved."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true")
    torch.set_num_threads(1)
    now = ratios()
    if parser.parse_args().record:
        files.write(
            RECORDED,
            json.dumps({"times_as_fast_as_naive": now, **clock.machine()}, indent=1) + "\n",
        )
    recorded = json.loads(RECORDED.read_text())["times_as_fast_as_naive"]
    print(f"{'speedup over the naive implementation':40s} {'now':>6s} {'recorded':>9s}")
    for name, ratio in now.items():
        print(
            f"{name:40s} {ratio:6.2f} {recorded[name]:9.2f}{'  lost' if lost(ratio, recorded[name]) else ''}"
        )
    gone = [name for name, ratio in now.items() if lost(ratio, recorded[name])]
    if gone:
        raise SystemExit(f"less than half of the recorded speedup: {', '.join(gone)}")


def lost(ratio: float, recorded: float) -> bool:
    """Whether a speedup has halved."""
    return ratio * GROSS < recorded


if __name__ == "__main__":
    main()
