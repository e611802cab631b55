"""The README's tables of all methods and of how fast heads are; `benchmarks.tables` places them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import graphfew as gf

HEADS = Path("benchmarks/speed/results/heads.json")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, all columns but the first aligned right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(result: dict[str, Any]) -> str:
    """`mean ± half width` in percent."""
    return f"{100 * result['mean']:.2f} ± {100 * result['half_width']:.2f}"


def methods(root: Path) -> str:
    """Every registered method and what it can be asked."""
    del root
    rows = []
    for name, method in sorted(gf.METHODS.items()):
        modes = [mode for mode in ("inductive", "transductive") if getattr(method, mode)]
        loss = getattr(method.loss, "__name__", None)
        rows.append([f"`{name}`", ", ".join(modes), f"`{loss}`" if loss else "none needed",
                     "fixed" if method.fixed_way else "any", "fixed" if method.fixed_shot else "any",
                     "used" if method.unlabelled else "refused", method.source])
    return markdown(["name", "modes", "training", "way", "shot", "unlabelled nodes", "source"], rows)


def heads(root: Path) -> str:
    """Tasks per second of heads on features."""
    content = json.loads((root / HEADS).read_text())
    rows = [[name, f"{row['tasks_per_second']:,.0f}", f"{row['of_prototypes']:.3f}"]
            for name, row in content["heads"].items()]
    return (f"Heads on features, 5-way 5-shot, 75 queries, 640 numbers, {content['setting']['tasks']} tasks at once, "
            f"{content['threads']} threads of a CPU (`python -m benchmarks.speed.heads`, interleaved, median of "
            f"{content['repeats']}; `{HEADS}`). In that run a task in the batch and the same task alone are at most "
            f"{max(row['difference_to_alone'] for row in content['heads'].values()):.0e} apart in probability.\n\n"
            + markdown(["head", "tasks per second", "of prototypes"], rows))
