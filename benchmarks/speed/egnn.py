"""EGNN and GNN compared with naive implementations, interleaved in one process.

Run: python -m benchmarks.speed.egnn --out benchmarks/speed/results/egnn.json
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

import graphfew as gf
from benchmarks import files
from benchmarks.speed import clock, naive, shapes

WIDTH, LAYERS, WAY = 96, 3, 5
# (way, shot, queries per class, tasks)
TRAINING = {
    "30 nodes, 40 tasks": (5, 5, 1, 40),
    "100 nodes, 8 tasks": (5, 5, 15, 8),
    "400 nodes": (5, 40, 40, 1),
}
ANSWERS = {"100 nodes, 8 tasks": (5, 5, 15, 8), "400 nodes": (5, 40, 40, 1)}
INDUCTIVE = (5, 5, 15, 1)
LARGE = 2048


def model() -> gf.GraphMethod:
    """EGNN of three layers."""
    return gf.create("egnn", encoder=gf.backbones.identity(shapes.DIM), layers=LAYERS, width=WIDTH)


def multiply_adds(layer: torch.nn.Module) -> int:
    """Multiply-adds of a layer's edge network for one pair."""
    return sum(
        m.in_features * m.out_features for m in layer.edge_net if isinstance(m, torch.nn.Linear)
    )


def library_step(model: gf.GraphMethod, batch: gf.Episode, target: torch.Tensor) -> clock.Call:
    """Forward, edge loss, backward and an Adam step of the library's model."""
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        gf.edge_loss(model(batch), target).backward()
        optimizer.step()

    return step


def naive_step(model: naive.NaiveEgnn, batch: gf.Episode, target: torch.Tensor) -> clock.Call:
    """The same for the naive model; its inputs are prepared in advance."""
    optimizer = torch.optim.Adam(model.parameters())
    nodes, edges = naive.tensors(batch)
    nodes = nodes.contiguous()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        naive.edge_loss(model(nodes, edges), batch, target).backward()
        optimizer.step()

    return step


def in_bfloat16(call: clock.Call) -> clock.Call:
    """The call under autocast."""

    def low() -> object:
        with torch.autocast("cpu", torch.bfloat16):
            return call()

    return low


def training(
    repeats: int, cases: Mapping[str, tuple[int, int, int, int]] = TRAINING
) -> dict[str, object]:
    """Training steps."""
    out = {}
    for name, shape in cases.items():
        ours, (batch, target) = model(), shapes.episode(*shape)
        slow = naive_step(naive.from_model(ours), batch, target)
        out[name] = row(
            clock.interleaved(
                {"naive": slow, "graphfew": library_step(ours, batch, target)}, repeats
            )
        )
    return out


def answers(
    repeats: int, cases: Mapping[str, tuple[int, int, int, int]] = ANSWERS
) -> dict[str, object]:
    """Transductive and inductive predictions of EGNN."""
    episodes = {name: shapes.episode(*shape)[0] for name, shape in cases.items()}
    episodes["inductive, 75 queries"] = shapes.episode(*INDUCTIVE)[0].inductive()
    ours = model().eval()
    slow = naive.from_model(ours)
    out = {}
    for name, batch in episodes.items():
        own = functools.partial(ours.predict_logits, batch)
        calls: dict[str, clock.Call] = {
            "naive": functools.partial(slow, *naive.tensors(batch)),
            "graphfew": own,
            "graphfew, bfloat16": in_bfloat16(own),
            **large_products(),
        }
        with torch.no_grad():
            times = clock.interleaved(calls, repeats)
        work = shapes.pairs(batch) * sum(map(multiply_adds, ours.layers.children()))
        out[name] = {**row(times), "share_of_peak": share(times, work)}
    return out


def large_products() -> dict[str, clock.Call]:
    """A large matmul with each of torch's libraries: MKL, and oneDNN as a 1x1 convolution."""
    large = torch.randn(LARGE, LARGE)
    image, kernels = large.t().reshape(1, LARGE, LARGE, 1), large.reshape(LARGE, LARGE, 1, 1)
    return {
        "one large product": functools.partial(torch.mm, large, large),
        "one large convolution": functools.partial(torch.nn.functional.conv2d, image, kernels),
    }


def share(times: Mapping[str, list[float]], work: int) -> float:
    """Throughput relative to the faster large matmul, counting all pairs of all layers."""
    middle = clock.medians(times)
    return work / middle["graphfew"] / (LARGE**3 / min(middle[name] for name in large_products()))


def gnn(repeats: int) -> dict[str, object]:
    """Inductive predictions of GNN for 75 queries."""
    ours = gf.create("gnn", encoder=gf.backbones.identity(shapes.DIM), way=WAY).eval()
    batch = shapes.episode(*INDUCTIVE)[0].inductive()
    slow, nodes = naive.gnn_from_model(ours), naive.labeled_nodes(batch)
    own = functools.partial(ours.predict_logits, batch)
    calls: dict[str, clock.Call] = {
        "naive": functools.partial(slow, nodes),
        "graphfew": own,
        "graphfew, bfloat16": in_bfloat16(own),
    }
    with torch.no_grad():
        return {"inductive, 75 queries": row(clock.interleaved(calls, repeats))}


def row(times: Mapping[str, list[float]]) -> dict[str, object]:
    """Speedup over the naive implementation, with the measured times."""
    return {
        "times_as_fast": clock.ratios(times, "naive"),
        "median_seconds": clock.medians(times),
        "seconds": dict(times),
    }


PARTS: Mapping[str, Callable[[int], dict[str, object]]] = {
    "training": training,
    "answers": answers,
    "gnn": gnn,
}


def main() -> None:
    """Measure, print, and write the result atomically."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, help="default: those of torch")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    result: dict[str, object] = {}
    for part, measure in PARTS.items():
        result[part] = measure(arguments.repeats)
        for name, measured in result[part].items():  # type: ignore[attr-defined]
            shares = (
                f", {measured['share_of_peak']:.0%} of a large matmul"
                if "share_of_peak" in measured
                else ""
            )
            fast = ", ".join(
                f"{way} {times:.2f}" for way, times in measured["times_as_fast"].items()
            )
            print(f"{part}, {name}: {fast} times as fast as naive{shares}", flush=True)
    result |= {
        "repeats": arguments.repeats,
        **clock.machine(),
        "setting": {"dim": shapes.DIM, "width": WIDTH, "layers": LAYERS, "dtype": "float32"},
    }
    if arguments.out:
        files.write(arguments.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
