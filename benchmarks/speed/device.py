"""EGNN on one device, interleaved: naive, plain, compiled and, on a GPU, fused; float32 and bfloat16.

On a GPU also training steps on Omniglot, with the images in GPU memory. Shapes are those of `benchmarks.speed.egnn`.

Run: python -m benchmarks.speed.device --device cuda --out benchmarks/speed/results/device-cuda.json
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

import torch

import graphfew as gf
from benchmarks import files
from benchmarks.speed import clock, egnn, naive, shapes

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LARGE = {"cpu": 2048, "cuda": 8192}
STEPS, BATCH = 50, 32


def synchronized(call: clock.Call, device: torch.device) -> clock.Call:
    """The call, followed by a device synchronization."""

    def run() -> None:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def in_precision(
    call: clock.Call, model: gf.GraphMethod, device: torch.device, kind: torch.dtype, fused: bool
) -> clock.Call:
    """The call in a precision, optionally with fused pair MLPs."""

    def run() -> None:
        with torch.autocast(device.type, kind, kind != torch.float32):
            if not fused:
                call()
                return
            with gf.nn.fused_kernels(model):
                call()

    return synchronized(run, device)


def variants(
    calls: Mapping[str, clock.Call], model: gf.GraphMethod, device: torch.device, fused: clock.Call
) -> dict[str, clock.Call]:
    """Each implementation in each precision; fused kernels on a GPU only."""
    out = {
        f"{name}, {kind}": in_precision(call, model, device, TYPES[kind], False)
        for kind in TYPES
        for name, call in calls.items()
    }
    if device.type == "cuda":
        out |= {
            f"fused, {kind}": in_precision(fused, model, device, TYPES[kind], True)
            for kind in TYPES
        }
    return out


def answers(
    device: torch.device,
    repeats: int,
    cases: Mapping[str, tuple[int, int, int, int]] = egnn.ANSWERS,
) -> dict[str, object]:
    """Transductive and inductive predictions."""
    episodes = {name: shapes.episode(*shape)[0].to(device) for name, shape in cases.items()}
    episodes["inductive, 75 queries"] = shapes.episode(*egnn.INDUCTIVE)[0].inductive().to(device)
    out = {}
    for name, batch in episodes.items():
        model = egnn.model().eval().to(device)
        slow, own = naive.from_model(model), functools.partial(model.predict_logits, batch)
        whole = functools.partial(torch.compile(model.forward_encoded, fullgraph=True), batch)
        calls: dict[str, clock.Call] = {
            "naive": functools.partial(slow, *naive.tensors(batch)),
            "plain": own,
            "compiled": whole,
        }
        with torch.no_grad():
            out[name] = measured(variants(calls, model, device, own), model, batch, device, repeats)
    return out


def training(
    device: torch.device,
    repeats: int,
    cases: Mapping[str, tuple[int, int, int, int]] = egnn.TRAINING,
) -> dict[str, object]:
    """Forward, edge loss, backward and an Adam step."""
    out = {}
    for name, shape in cases.items():
        batch, target = (part.to(device) for part in shapes.episode(*shape))
        model = egnn.model().to(device)
        own = egnn.library_step(model, batch, target)
        calls = {
            "naive": egnn.naive_step(naive.from_model(model), batch, target),
            "plain": own,
            "compiled": compiled_step(model, batch, target),
        }
        out[name] = measured(
            variants(calls, model, device, own), model, batch, device, repeats, passes=3
        )
    return out


def compiled_step(model: gf.GraphMethod, batch: gf.Episode, target: torch.Tensor) -> clock.Call:
    """The training step with a compiled model."""
    optimizer, run = (
        torch.optim.Adam(model.parameters()),
        torch.compile(model.forward_encoded, fullgraph=True),
    )

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        gf.edge_loss(run(batch), target).backward()
        optimizer.step()

    return step


def measured(
    calls: Mapping[str, clock.Call],
    model: gf.GraphMethod,
    batch: gf.Episode,
    device: torch.device,
    repeats: int,
    passes: int = 1,
) -> dict[str, object]:
    """Speedup over naive float32, and throughput relative to a large matmul of the same precision.

    The throughput counts the multiply-adds of all pairs in all layers, `passes` times.
    """
    side = LARGE[device.type]
    products = {}
    for kind, dtype in TYPES.items():
        large = torch.randn(side, side, device=device, dtype=dtype)
        products[f"one large product, {kind}"] = synchronized(
            functools.partial(torch.mm, large, large), device
        )
    times = clock.interleaved({**calls, **products}, repeats)
    middle = clock.medians(times)
    work = passes * shapes.pairs(batch) * sum(map(egnn.multiply_adds, model.layers.children()))
    share = {
        name: work / middle[name] / (side**3 / middle[f"one large product, {name.split(', ')[1]}"])
        for name in calls
    }
    return {
        "times_as_fast": {
            name: ratio
            for name, ratio in clock.ratios(times, "naive, float32").items()
            if name in calls
        },
        "share_of_peak": share,
        "median_seconds": middle,
        "seconds": times,
    }


def omniglot(device: torch.device) -> dict[str, object]:
    """Training episodes per second, 5-way 5-shot, one query per class, images on the device."""
    data = gf.data.omniglot(split="train").to(device)
    tasks = gf.Tasks(data, way=5, shot=5, query=1, seed=0)
    out: dict[str, object] = {}
    for fused in (False, True):
        for kind, dtype in TYPES.items():
            model = gf.create("egnn", encoder=gf.backbones.conv4()).to(device)
            steps = functools.partial(
                gf.train,
                model,
                tasks,
                loss=gf.edge_loss,
                batch=BATCH,
                precision=dtype,
                autocast_layers=True,
            )
            with gf.nn.fused_kernels(model) if fused else nullcontext():
                for _ in steps(steps=5):
                    pass
                torch.cuda.synchronize(device)
                begin = time.perf_counter()
                for _ in steps(steps=5 + STEPS, start=5):
                    pass
                torch.cuda.synchronize(device)
            out[f"{'fused' if fused else 'plain'}, {kind}"] = (
                BATCH * STEPS / (time.perf_counter() - begin)
            )
    return out


def table(part: Mapping[str, object]) -> str:
    """The results as text."""
    lines = []
    for name, row in part.items():
        fast, share = row["times_as_fast"], row["share_of_peak"]  # type: ignore[index]
        lines += [
            f"{name}: {variant} {fast.get(variant, 1.0):.2f} times as fast, {share[variant]:.0%} of a matmul"
            for variant in share
        ]
    return "\n".join(lines)


PARTS: Mapping[str, Callable[[torch.device, int], dict[str, object]]] = {
    "answers": answers,
    "training": training,
}


def main() -> None:
    """Measure, print, and write the result after each part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    result: dict[str, object] = {"device": name, "repeats": arguments.repeats, **clock.machine()}
    for part, measure in PARTS.items():
        rows = measure(device, arguments.repeats)
        result[part] = rows
        print(f"{part}\n{table(rows)}", flush=True)
        if arguments.out:
            files.write(arguments.out, json.dumps(result, indent=1) + "\n")
    if device.type == "cuda":
        result["omniglot_episodes_per_second"] = omniglot(device)
        print(result["omniglot_episodes_per_second"], flush=True)
    if arguments.out:
        files.write(arguments.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
