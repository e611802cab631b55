"""EGNN and GNN on one device, interleaved: naive, plain, compiled and, on a GPU, fused; float32 and bfloat16."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch

import graphfew as gf
from benchmarks.speed import clock, egnn, naive, shapes
from benchmarks.speed.device_setting import Setting

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LARGE = {"cpu": 2048, "cuda": 8192}


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


def predictions(setting: Setting) -> dict[str, object]:
    """Transductive and inductive predictions of EGNN."""
    device, cases = setting.device, {"tiny": (3, 1, 1, 2)} if setting.small else egnn.ANSWERS
    episodes = {name: shapes.episode(*shape)[0].to(device) for name, shape in cases.items()}
    inductive = (3, 1, 1, 1) if setting.small else egnn.INDUCTIVE
    episodes["inductive"] = shapes.episode(*inductive)[0].inductive().to(device)
    out: dict[str, object] = {}
    for name, batch in episodes.items():
        setting.check_time()
        model = egnn.model().eval().to(device)
        slow, own = naive.from_model(model), functools.partial(model.predict_logits, batch)
        calls: dict[str, clock.Call] = {
            "naive": functools.partial(slow, *naive.tensors(batch)),
            "plain": own,
        }
        if setting.compiles:
            calls["compiled"] = functools.partial(
                torch.compile(model.forward_encoded, fullgraph=True), batch
            )
        with torch.no_grad():
            timed = variants(calls, model, device, own)
            out[name] = measured(timed, multiply_adds(model, batch), setting)
    return out


def training(setting: Setting) -> dict[str, object]:
    """Forward, edge loss, backward and an Adam step of EGNN, on tasks of equal size."""
    cases = {"tiny": (3, 1, 1, 2)} if setting.small else egnn.TRAINING
    out: dict[str, object] = {}
    for name, shape in cases.items():
        setting.check_time()
        batch, target = (part.to(setting.device) for part in shapes.episode(*shape))
        model = egnn.model().to(setting.device)
        own = egnn.library_step(model, batch, target)
        calls = {"naive": egnn.naive_step(naive.from_model(model), batch, target), "plain": own}
        if setting.compiles:
            calls["compiled"] = compiled_step(model, batch, target)
        timed = variants(calls, model, setting.device, own)
        # The backward pass has about twice the products of the forward pass.
        out[name] = measured(timed, 3 * multiply_adds(model, batch), setting)
    return out


def ragged(setting: Setting) -> dict[str, object]:
    """Predictions and training steps of EGNN on tasks of mixed size, whose sums need segment kernels."""
    queries = (1, 2) if setting.small else (1, 4, 9, 15, 2, 7, 12, 5)
    episodes = [shapes.episode(5, 5, query, 1, seed=query) for query in queries]
    batch = gf.collate([episode for episode, _ in episodes]).to(setting.device)
    target = torch.cat([part for _, part in episodes]).to(setting.device)
    model = egnn.model().to(setting.device)
    step, work = egnn.library_step(model, batch, target), multiply_adds(model, batch)
    trained = measured(variants({"plain": step}, model, setting.device, step), 3 * work, setting)
    setting.check_time()
    model = egnn.model().eval().to(setting.device)
    own = functools.partial(model.predict_logits, batch)
    with torch.no_grad():
        predicted = measured(variants({"plain": own}, model, setting.device, own), work, setting)
    return {"training": trained, "prediction": predicted}


def gnn(setting: Setting) -> dict[str, object]:
    """Inductive predictions of GNN, for which naive code repeats the supports for every query."""
    device, shape = setting.device, (5, 1, 1, 1) if setting.small else egnn.INDUCTIVE
    encoder = gf.backbones.identity(shapes.DIM)
    model = gf.create("gnn", encoder=encoder, way=egnn.WAY).eval().to(device)
    batch = shapes.episode(*shape)[0].inductive().to(device)
    slow, nodes = naive.gnn_from_model(model), naive.labeled_nodes(batch)
    own = functools.partial(model.predict_logits, batch)
    calls: dict[str, clock.Call] = {"naive": functools.partial(slow, nodes), "plain": own}
    if setting.compiles:
        calls["compiled"] = functools.partial(
            torch.compile(model.forward_encoded, fullgraph=True), batch
        )
    with torch.no_grad():
        return {"inductive": measured(variants(calls, model, device, own), None, setting)}


def multiply_adds(model: gf.GraphMethod, batch: gf.Episode) -> int:
    """Multiply-adds of the edge networks of all layers for all pairs of a batch."""
    return shapes.pairs(batch) * sum(map(egnn.multiply_adds, model.layers.children()))


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
    calls: Mapping[str, clock.Call], work: int | None, setting: Setting
) -> dict[str, object]:
    """Speedup over the first call, and throughput relative to a large matmul of the same precision.

    `work` is the number of multiply-adds of all pairs in all layers; None if it is not counted.
    """
    device = setting.device
    side = 128 if setting.small else LARGE[device.type]
    products = {}
    for kind, dtype in TYPES.items():
        large = torch.randn(side, side, device=device, dtype=dtype)
        products[f"one large product, {kind}"] = synchronized(
            functools.partial(torch.mm, large, large), device
        )
    times = clock.interleaved({**calls, **products}, setting.repeats)
    middle = clock.medians(times)
    ratios = clock.ratios(times, next(iter(calls)))
    result: dict[str, object] = {
        "times_as_fast": {name: ratio for name, ratio in ratios.items() if name in calls},
        "median_seconds": middle,
        "seconds": times,
    }
    if work is not None:
        shares = {}
        for name in calls:
            peak = side**3 / middle[f"one large product, {name.split(', ')[1]}"]
            shares[name] = work / middle[name] / peak
        result["share_of_peak"] = shares
    return result
