"""The tables of speed, from the files in `benchmarks/speed/results`; `benchmarks.tables` places them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.method_tables import markdown

RESULTS = Path("benchmarks/speed/results")
EARLIER = RESULTS / "egnn-earlier.json"
EGNN, MEMORY, SAMPLING, FLOORS = (
    RESULTS / f"{name}.json" for name in ("egnn", "memory", "tasks", "floors")
)


def speed(root: Path) -> str:
    """EGNN and GNN against the naive forms of them, and the memory that they take."""
    content, earlier, memory = (
        json.loads((root / path).read_text()) for path in (EGNN, EARLIER, MEMORY)
    )
    rows = []
    for part, title in (
        ("training", "EGNN, a training step"),
        ("answers", "EGNN, answers"),
        ("gnn", "GNN, answers"),
    ):
        for name, row in content[part].items():
            rows.append([f"{title}, {name}", *_ratios(row), *_ratios(earlier[part][name])])
    head = [
        "",
        *(
            f"{column}{where}"
            for where in ("", ", earlier machine")
            for column in ("times as fast", "in bfloat16", "of one large product")
        ),
    ]
    cells = memory["cells"]
    held = {name: f"{cell['bytes'] / 1e6:,.0f} MB" for name, cell in cells.items()}
    setting = content["setting"]
    return (
        f"Against the same formulas over all ordered pairs by 1×1 convolutions on a `[B, C, N, N]` tensor, one "
        f"graph per query when inductive ({setting['layers']} layers of {setting['width']}, {setting['dim']} "
        f"features, {content['threads']} threads of a CPU ({content['processor']}), float32, the system's own "
        f"allocator; `python -m benchmarks.speed.egnn`, in turn, medians of {content['repeats']}; `{EGNN}`). The "
        f"third column is multiply-adds a second, of all pairs in all layers, as a share of those of one product "
        f"of 2,048² numbers by the quicker of torch's two libraries. The earlier machine's processor was not "
        f"noted; its run (`{EARLIER}`) is of the code before products by oneDNN: ratios hang on the machine, "
        f"too. Smaller products may be quicker than that large one: see `benchmarks/RESULTS.md`.\n\n"
        f"{markdown(head, rows)}\n\n"
        f"An answer to 400 nodes takes {held['graphfew, 400 nodes']} of memory (naive "
        f"{held['naive, 400 nodes']}), to 4,000 nodes {held['graphfew, 4000 nodes']}; a training step on 400 nodes "
        f"{held['graphfew, a training step, 400 nodes']} (naive {held['naive, a training step, 400 nodes']}), with "
        f"`recompute` {held['graphfew, a training step, recomputed, 400 nodes']} "
        f"(`python -m benchmarks.speed.memory`; `{MEMORY}`).\n\n{_sampling(root)}"
    )


def _ratios(row: dict[str, Any]) -> list[str]:
    """How many times as fast, in bfloat16, and the share of the peak, where they were measured."""
    fast, share = row["times_as_fast"], row.get("share_of_peak")
    low = fast.get("graphfew, bfloat16")
    return [
        f"{fast['graphfew']:.1f}",
        f"{low:.1f}" if low else "",
        f"{100 * share:.0f} %" if share else "",
    ]


def _sampling(root: Path) -> str:
    """Tasks a second, and what encoding once saves."""
    content = json.loads((root / SAMPLING).read_text())
    drawn = content["tasks_per_second"]
    saved = [
        f"1/{cell['times_as_fast']:.1f} of the time on {name} ({cell['images']:,} images)"
        for name, cell in content["evaluation"].items()
    ]
    return (
        f"Omniglot, 5-way 5-shot, 15 queries per class: {drawn['indices']:,.0f} tasks a second are drawn, "
        f"{drawn['32 at once']:,.0f} made into episodes of 32 with their images. Prototypes on 1,000 tasks, with "
        f"every image encoded once beforehand, take {', '.join(saved)} of encoding task by task "
        f"(`python -m benchmarks.speed.tasks`; `{SAMPLING}`)."
    )


def floors(root: Path) -> str:
    """Operations, bytes and the least time of every path, beside what it takes."""
    content = json.loads((root / FLOORS).read_text())
    rows = []
    for name, path in content["paths"].items():
        products, memory = (
            f"{1000 * path['floor_seconds'][part]:.0f}" for part in ("products", "memory")
        )
        rows.append(
            [
                f"EGNN, {name}",
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
        "thousand million multiply-adds",
        "GB of rows through memory",
        "products alone, ms",
        "memory alone, ms",
        "taken, ms",
        "of both together",
    ]
    product, memory = content["multiply_adds_per_second"] / 1e9, content["bytes_per_second"] / 1e9
    return (
        f"What each path has to do, and the least time for it at the rate of the quickest product found "
        f"({product:.0f} thousand million multiply-adds a second) and of memory ({memory:.1f} GB a second), "
        f"{content['threads']} threads, float32 (`python -m benchmarks.speed.floors`; `{FLOORS}`; times taken: "
        f"`{content['measured']}`). In training the statistics of batch norm make every row of a map pass through "
        f"memory 5 times forward and 12 times backward; answers keep their blocks in the cache.\n\n"
        + markdown(head, rows)
    )
