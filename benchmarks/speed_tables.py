"""The tables of speed, from the files in `benchmarks/speed/results`; `benchmarks.tables` places them."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.method_tables import markdown

RESULTS = Path("benchmarks/speed/results")
EGNN, MEMORY, SAMPLING, FLOORS = (RESULTS / f"{name}.json" for name in ("egnn", "memory", "tasks", "floors"))
DEVICES = "device-*.json"


def speed(root: Path) -> str:
    """EGNN and GNN against the naive forms of them, and the memory that they take."""
    content, memory = (json.loads((root / path).read_text()) for path in (EGNN, MEMORY))
    rows = []
    for part, title in (("training", "EGNN, a training step"), ("answers", "EGNN, answers"), ("gnn", "GNN, answers")):
        for name, row in content[part].items():
            fast, share = row["times_as_fast"], row.get("share_of_peak")
            low = fast.get("graphfew, bfloat16")
            rows.append([f"{title}, {name}", f"{fast['graphfew']:.1f}", f"{low:.1f}" if low else "",
                         f"{100 * share:.0f} %" if share else ""])
    head = ["", "times as fast", "in bfloat16", "of one large product"]
    cells = memory["cells"]
    held = {name: f"{cell['bytes'] / 1e6:,.0f} MB" for name, cell in cells.items()}
    setting = content["setting"]
    return (f"Against the same formulas over all ordered pairs by 1×1 convolutions on a `[B, C, N, N]` tensor, one "
            f"graph per query when inductive ({setting['layers']} layers of {setting['width']}, {setting['dim']} "
            f"features, {content['threads']} threads of a CPU, float32, the system's own allocator; "
            f"`python -m benchmarks.speed.egnn`, in turn, medians of {content['repeats']}; `{EGNN}`). The last column "
            f"is multiply-adds a second, of all pairs in all layers, as a share of those of one product of 2,048² "
            f"numbers.\n\n{markdown(head, rows)}\n\n"
            f"An answer to 400 nodes takes {held['graphfew, 400 nodes']} of memory (naive "
            f"{held['naive, 400 nodes']}), to 4,000 nodes {held['graphfew, 4000 nodes']}; a training step on 400 nodes "
            f"{held['graphfew, a training step, 400 nodes']} (naive {held['naive, a training step, 400 nodes']}), with "
            f"`recompute` {held['graphfew, a training step, recomputed, 400 nodes']} "
            f"(`python -m benchmarks.speed.memory`; `{MEMORY}`).\n\n{_sampling(root)}")


def _sampling(root: Path) -> str:
    """Tasks a second, and what encoding once saves."""
    content = json.loads((root / SAMPLING).read_text())
    drawn = content["tasks_per_second"]
    saved = [f"1/{cell['times_as_fast']:.1f} of the time on {name} ({cell['images']:,} images)"
             for name, cell in content["evaluation"].items()]
    return (f"Omniglot, 5-way 5-shot, 15 queries per class: {drawn['indices']:,.0f} tasks a second are drawn, "
            f"{drawn['32 at once']:,.0f} made into episodes of 32 with their images. Prototypes on 1,000 tasks, with "
            f"every image encoded once beforehand, take {', '.join(saved)} of encoding task by task "
            f"(`python -m benchmarks.speed.tasks`; `{SAMPLING}`).")


def floors(root: Path) -> str:
    """Operations, bytes and the least time of every path, beside what it takes."""
    content = json.loads((root / FLOORS).read_text())
    rows = []
    for name, path in content["paths"].items():
        products, memory = (f"{1000 * path['floor_seconds'][part]:.0f}" for part in ("products", "memory"))
        rows.append([f"EGNN, {name}", f"{(path['pair_products'] + path['other_products']) / 1e9:.2f}",
                     f"{path['row_bytes'] / 1e9:.2f}", products, memory, f"{1000 * path['seconds']:.0f}",
                     f"{path['of_both']:.2f}"])
    head = ["", "thousand million multiply-adds", "GB of rows through memory", "products alone, ms", "memory alone, ms",
            "taken, ms", "of both together"]
    product, memory = content["multiply_adds_per_second"] / 1e9, content["bytes_per_second"] / 1e9
    return (f"What each path has to do, and the least time for it at the rate of one large product ({product:.0f} "
            f"thousand million multiply-adds a second) and of memory ({memory:.1f} GB a second), {content['threads']} "
            f"threads, float32 (`python -m benchmarks.speed.floors`; `{FLOORS}`; times taken: "
            f"`{content['measured']}`). In training the statistics of batch norm make every row of a map pass through "
            f"memory 5 times forward and 12 times backward; answers keep their blocks in the cache.\n\n"
            + markdown(head, rows))


def devices(root: Path) -> str:
    """Every way to run EGNN on each device that was measured."""
    return "\n\n".join(_device(root, path) for path in sorted((root / RESULTS).glob(DEVICES)))


def _device(root: Path, path: Path) -> str:
    content = json.loads(path.read_text())
    rows = []
    for part in ("answers", "training"):
        for name, row in content.get(part, {}).items():
            rows += [[f"{part}, {name}: {way}", f"{row['times_as_fast'].get(way, 1.0):.2f}", f"{100 * share:.0f} %"]
                     for way, share in row["share_of_peak"].items()]
    place = path.relative_to(root)
    command = f"python -m benchmarks.speed.device --device {place.stem.removeprefix('device-')}"
    trained = content.get("omniglot_episodes_per_second", {})
    more = "".join(f" Training on Omniglot held on the device, {name}: {rate:,.0f} episodes a second."
                   for name, rate in trained.items())
    return (f"EGNN on {content['device']}, {content['threads']} threads, torch {content['torch']} (`{command}`, in "
            f"turn, medians of {content['repeats']}; `{place}`): times as fast as naive in float32, and multiply-adds "
            f"a second over those of one large product of the same precision.{more}\n\n"
            + markdown(["", "times as fast", "of one large product"], rows))
