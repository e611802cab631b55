"""Operations, bytes and minimum time of every path of EGNN and GNN, compared with the measured time.

Multiply-adds are computed from widths, nodes and pairs; the rates of matmuls and of memory are measured.
The minimum time is the larger of the time of the matmuls and that of the passes over memory.

Run: python -m benchmarks.speed.floors --out benchmarks/speed/results/floors.json
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
from pathlib import Path

import torch

import graphfew as gf
from benchmarks import files
from benchmarks.speed import clock, egnn, shapes

NUMBER, ROWS = 4, 8192
# Passes over the output of a linear layer that batch norm's statistics require: forward it is written, read for the
# statistics, read and written by the norm with its activation, read by the next product. Backward: the activation's
# gradient (two read, one written), the norm's two sums (two read) and its gradient (two read, one written), and each
# of both products reads (the row for the weights, its gradient twice) and writes once.
FORWARD_PASSES, BACKWARD_PASSES = 5, 12


@dataclasses.dataclass(frozen=True)
class Work:
    """Work of one call: multiply-adds of pair MLPs and of everything else, and bytes moved."""

    pair_products: int
    other_products: int
    row_bytes: int


def rows(net: torch.nn.Module) -> int:
    """Input features of all linear layers, per pair."""
    return sum(m.in_features for m in net if isinstance(m, torch.nn.Linear))


def nodes(layer: torch.nn.Module, sizes: tuple[int, ...]) -> int:
    """Multiply-adds of an EGNN layer's node MLP, and of the aggregation before it."""
    linear_layers = [m for m in layer.node_net if isinstance(m, torch.nn.Linear)]
    own = sum(m.in_features * m.out_features for m in linear_layers)
    return sum(sizes) * own + sum(n * n for n in sizes) * 2 * (linear_layers[0].in_features // 3)


def egnn_path(model: gf.GraphMethod, episode: gf.Episode, *, training: bool) -> Work:
    """Work of a training step (pair features in memory) or of a prediction (chunks in cache)."""
    layers, pairs = (
        list(model.layers.children()),
        [shapes.pairs(episode)] * len(list(model.layers.children())),
    )
    to_queries = sum(n * q for n, q in zip(episode.sizes, episode.n_queries, strict=True))
    if not training and 2 * to_queries < sum(n * n for n in episode.sizes):
        pairs[-1] = to_queries
    work = sum(p * egnn.multiply_adds(layer) for p, layer in zip(pairs, layers, strict=True))
    other = sum(nodes(layer, episode.sizes) for layer in layers)
    if not training:
        return Work(work, other, 0)
    moved = sum(p * rows(layer.edge_net) for p, layer in zip(pairs, layers, strict=True))
    return Work(3 * work, 3 * other, NUMBER * (FORWARD_PASSES + BACKWARD_PASSES) * moved)


def paths() -> dict[str, Work]:
    """The shapes of `benchmarks.speed.egnn`."""
    model = egnn.model()
    out = {
        f"training, {name}": egnn_path(model, shapes.episode(*shape)[0], training=True)
        for name, shape in egnn.TRAINING.items()
    }
    out |= {
        f"answers, {name}": egnn_path(model, shapes.episode(*shape)[0], training=False)
        for name, shape in egnn.ANSWERS.items()
    }
    out["answers, inductive, 75 queries"] = egnn_path(
        model, shapes.episode(*egnn.INDUCTIVE)[0].inductive(), training=False
    )
    return out


def rates(repeats: int) -> tuple[float, float]:
    """Multiply-adds per second of the fastest of several matmuls, and bytes per second of a large sum.

    The matmuls are the large ones of `egnn`, and a tall one as wide as a pair MLP, which is faster on
    some processors.
    """
    far, width = torch.randn(3, 1 << 25), 2 * egnn.WIDTH
    rows, weight = torch.randn(ROWS, width), torch.randn(width, width)
    image = rows[None, :, None, :].permute(0, 3, 1, 2)
    work = {
        **dict.fromkeys(large := egnn.large_products(), egnn.LARGE**3),
        **dict.fromkeys(("rows", "rows, convolved"), ROWS * width**2),
    }
    middle = clock.medians(
        clock.interleaved(
            {
                **large,
                "rows": functools.partial(torch.mm, rows, weight),
                "rows, convolved": functools.partial(
                    torch.nn.functional.conv2d, image, weight[:, :, None, None]
                ),
                "memory": functools.partial(torch.add, far[0], far[1], out=far[2]),
            },
            repeats,
        )
    )
    return max(work[name] / middle[name] for name in work), far.nbytes / middle["memory"]


def main() -> None:
    """Compute, print, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--measured", type=Path, default=Path("benchmarks/speed/results/egnn.json"))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    taken = json.loads(arguments.measured.read_text())
    product, memory = rates(arguments.repeats)
    result: dict[str, object] = {
        "multiply_adds_per_second": product,
        "bytes_per_second": memory,
        "paths": {},
        "measured": str(arguments.measured),
        **clock.machine(),
    }
    for name, path in paths().items():
        part, _, case = name.partition(", ")
        seconds = taken[part][case]["median_seconds"]["graphfew"]
        times = {
            "products": (path.pair_products + path.other_products) / product,
            "memory": path.row_bytes / memory,
        }
        result["paths"][name] = {
            **dataclasses.asdict(path),
            "floor_seconds": times,  # type: ignore[index]
            "seconds": seconds,
            "of_floor": seconds / max(times.values()),
            "of_both": seconds / sum(times.values()),
        }
        print(
            f"{name}: {seconds:.3f} s; products alone {times['products']:.3f}, memory alone {times['memory']:.3f}; "
            f"{seconds / max(times.values()):.2f} times the larger, {seconds / sum(times.values()):.2f} times both",
            flush=True,
        )
    if arguments.out:
        files.write(arguments.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
