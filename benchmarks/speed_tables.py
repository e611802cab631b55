"""The tables of speed, from the files in `benchmarks/speed/results`; `benchmarks.tables` places them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.method_tables import markdown

RESULTS = Path("benchmarks/speed/results")
EARLIER = RESULTS / "egnn-earlier.json"
EGNN, MEMORY, SAMPLING, FLOORS, FITTED = (
    RESULTS / f"{name}.json" for name in ("egnn", "memory", "tasks", "floors", "fitted")
)
LATENCY, INNER_LOOP, MAML = (RESULTS / f"{name}.json" for name in ("latency", "inner_loop", "maml"))


def speed(root: Path) -> str:
    """EGNN and GNN against the naive forms of them, and the memory that they take."""
    content, earlier, memory = (
        json.loads((root / path).read_text()) for path in (EGNN, EARLIER, MEMORY)
    )
    rows = []
    for part, title in (
        ("training", "EGNN, training step"),
        ("answers", "EGNN, prediction"),
        ("gnn", "GNN, prediction"),
    ):
        for name, row in content[part].items():
            rows.append([f"{title}, {name}", *_ratios(row), *_ratios(earlier[part][name])])
    head = [
        "",
        *(
            f"{column}{where}"
            for where in ("", ", earlier machine")
            for column in ("speedup", "in bfloat16", "of a large matmul")
        ),
    ]
    cells = memory["cells"]
    held = {name: f"{cell['bytes'] / 1e6:,.0f} MB" for name, cell in cells.items()}
    setting = content["setting"]
    return (
        f"Speedup over the naive implementation: all ordered pairs by 1×1 convolutions on a `[B, C, N, N]` tensor, "
        f"and one graph per query if inductive ({setting['layers']} layers of width {setting['width']}, "
        f"{setting['dim']} features, {content['threads']} threads of a CPU ({content['processor']}), float32, the "
        f"default allocator; `python -m benchmarks.speed.egnn`, interleaved, medians of {content['repeats']}; "
        f"`{EGNN}`). The third column is throughput relative to a single 2048×2048 matmul (the faster of MKL and "
        f"oneDNN). The processor of the earlier machine was not recorded; its run (`{EARLIER}`) predates the oneDNN "
        f"products. Ratios depend on the machine, and smaller matmuls can be faster than the large one.\n\n"
        f"{markdown(head, rows)}\n\n"
        f"A prediction on 400 nodes needs {held['graphfew, 400 nodes']} of memory (naive "
        f"{held['naive, 400 nodes']}), on 4,000 nodes {held['graphfew, 4000 nodes']}; a training step on 400 nodes "
        f"{held['graphfew, a training step, 400 nodes']} (naive {held['naive, a training step, 400 nodes']}), with "
        f"activation checkpointing {held['graphfew, a training step, recomputed, 400 nodes']} "
        f"(`python -m benchmarks.speed.memory`; `{MEMORY}`).\n\n{_sampling(root)}"
    )


def _ratios(row: dict[str, Any]) -> list[str]:
    """Speedup, speedup in bfloat16, and throughput relative to a matmul, if measured."""
    fast, share = row["times_as_fast"], row.get("share_of_peak")
    low = fast.get("graphfew, bfloat16")
    return [
        f"{fast['graphfew']:.1f}",
        f"{low:.1f}" if low else "",
        f"{100 * share:.0f} %" if share else "",
    ]


def _sampling(root: Path) -> str:
    """Tasks per second, and the effect of encoding in advance."""
    content = json.loads((root / SAMPLING).read_text())
    drawn = content["tasks_per_second"]
    saved = [
        f"1/{cell['times_as_fast']:.1f} of the time on {name} ({cell['images']:,} images)"
        for name, cell in content["evaluation"].items()
    ]
    return (
        f"Omniglot, 5-way 5-shot, 15 queries per class: {drawn['indices']:,.0f} tasks per second are sampled, "
        f"{drawn['32 at once']:,.0f} per second with their images in batches of 32. Prototypes on 1,000 tasks, with "
        f"every image encoded once in advance, take {', '.join(saved)} of encoding task by task "
        f"(`python -m benchmarks.speed.tasks`; `{SAMPLING}`)."
    )


def floors(root: Path) -> str:
    """Operations, bytes and minimum time of every path, compared with the measured time."""
    content = json.loads((root / FLOORS).read_text())
    rows = []
    for name, path in content["paths"].items():
        products, memory = (
            f"{1000 * path['floor_seconds'][part]:.0f}" for part in ("products", "memory")
        )
        rows.append(
            [
                f"EGNN, {name.replace('answers', 'prediction')}",
                f"{(path['pair_products'] + path['other_products']) / 1e9:.2f}",
                f"{path['row_bytes'] / 1e9:.2f}",
                products,
                memory,
                f"{1000 * path['seconds']:.0f}",
                f"{path['of_both']:.2f}",
            ]
        )
    head = [
        "",
        "multiply-adds, 1e9",
        "memory traffic, GB",
        "matmuls alone, ms",
        "memory alone, ms",
        "measured, ms",
        "relative to their sum",
    ]
    product, memory = content["multiply_adds_per_second"] / 1e9, content["bytes_per_second"] / 1e9
    return (
        f"Work of each path, and its minimum time at the rate of the fastest matmul ({product:.0f}e9 multiply-adds "
        f"per second) and of memory ({memory:.1f} GB per second), {content['threads']} threads, float32 "
        f"(`python -m benchmarks.speed.floors`; `{FLOORS}`; measured times: `{content['measured']}`). In training, "
        f"batch norm statistics require 5 passes over every layer's output forward and 12 backward; predictions "
        f"keep their chunks in the cache.\n\n" + markdown(head, rows)
    )


def fitted(root: Path) -> str:
    """Seconds of the classifier's fit and of predictions after it."""
    content = json.loads((root / FITTED).read_text())
    rows = []
    for row in content["rows"]:
        one_item, all_queries = row["one_item_seconds"], row["all_queries_seconds"]
        label = f"`{row['method']}`, {row['setting']}"
        rows.append(
            [
                label,
                f"{row['fit_seconds']:.1f}",
                f"{row['peak_gigabytes']:.1f}",
                f"{1000 * one_item:.1f}",
                f"{all_queries:.2f}",
            ]
        )
    setting = content["setting"]
    queries = f"{setting['queries']:,}"
    head = ["", "fit, s", "peak memory, GB", "predict one item, ms", f"predict {queries} items, s"]
    return (
        f"`FewShotClassifier` on synthetic data, {content['threads']} threads of a CPU ({content['processor']}; "
        f"`{content['command']}`, the least of {content['repeats']}; `{FITTED}`). A prediction does no work that "
        f"grows with the fitted items beyond one neighbor search:\n\n{markdown(head, rows)}"
    )


def latency(root: Path) -> str:
    """Processor time of one episode at a time, next to EasyFSL."""
    content = json.loads((root / LATENCY).read_text())
    rows = []
    for method, row in content["methods"].items():
        times, ratios = row["milliseconds"], row["times_as_fast_as_easyfsl"]
        existing = "graphfew, existing episode"
        cells = [times["graphfew"], times[existing], times["EasyFSL"], ratios["graphfew"]]
        rows.append([f"`{method}`", *(f"{cell:.2f}" for cell in (*cells, ratios[existing]))])
    head = [
        "",
        "from tensors, ms",
        "from an episode, ms",
        "EasyFSL, ms",
        "speedup, from tensors",
        "speedup, from an episode",
    ]
    setting = content["setting"]
    return (
        f"Processor time of one episode at a time ({setting['way']}-way {setting['shot']}-shot, "
        f"{setting['queries_per_class']} queries per class, {setting['dim']} features, one thread, "
        f"{content['processor']}) from tensors to logits, checks included, compared with EasyFSL, which has no "
        f"checks (`python -m benchmarks.speed.latency`, interleaved, median of {content['repeats']}; "
        f"`{LATENCY}`):\n\n{markdown(head, rows)}"
    )


def inner_loop(root: Path) -> str:
    """Tasks per processor-second of the inner loop on a linear classifier."""
    content = json.loads((root / INNER_LOOP).read_text())
    rows = []
    for stage in ("training", "evaluation"):
        rates = content[stage]["tasks_per_processor_second"]
        speedups = content[stage]["graphfew_times_as_fast"]
        for name, rate in rates.items():
            speedup = speedups.get(name)
            rows.append([f"{stage}, {name}", f"{rate:,.0f}", f"{speedup:.1f}" if speedup else ""])
    setting = content["setting"]
    return (
        f"{setting['steps']} steps of gradient descent on a linear classifier, {setting['way']}-way "
        f"{setting['shot']}-shot, {setting['queries_per_class']} queries per class, {setting['dim']} features, "
        f"second order, {content['threads']} thread(s) (`python -m benchmarks.speed.inner_loop`, interleaved, "
        f"median of {content['repeats']}; `{INNER_LOOP}`):\n\n"
        + markdown(["", "tasks per processor-second", "speedup of graphfew"], rows)
    )
