"""The README's tables of all methods, of FewRel, and of how fast heads are; `benchmarks.tables` places them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import graphfew as gf

LANGUAGE = Path("benchmarks/fewrel/results")
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


def language(root: Path) -> str:
    """Methods from language work on FewRel, and prototypes beside hybrid attention under label noise."""
    cells = [json.loads(path.read_text()) for path in sorted((root / LANGUAGE).glob("*.json"))]
    found = {(c["model"]["method"], c["encoder"], c["shot"], c["noise"]): c for c in cells}
    names = sorted({key[:2] for key in found if key[2] == 1}, key=lambda key: -float(found[(*key, 1, 0.0)]["mean"]))
    first = markdown(["5-way, 5 queries per class, accuracy in %", "1-shot", "5-shot"],
                     [[f"`{name}` on `{encoder}`, {found[name, encoder, 1, 0.0]['mode']}",
                       *(percent(found[name, encoder, shot, 0.0]) for shot in (1, 5))] for name, encoder in names])
    noisy = [(shot, noise) for shot in (5, 10) for noise in (0.0, 0.3, 0.5)]
    second = markdown(["`conv_text`, accuracy in %",
                       *(f"{shot}-shot, {round(100 * noise)} % noise" for shot, noise in noisy)],
                      [[f"`{name}`", *(percent(found[(name, "conv_text", *place)]) for place in noisy)]
                       for name in ("prototypical", "hybrid_attention")])
    return ("FewRel `val_wiki`, trained from scratch on word indices of 10 relations, tested on 6 others; 1,000 tasks, "
            "95 % intervals over tasks, one training seed, nothing selected. Under noise a share of the supports are "
            "sentences of relations outside the task, in training and in the test. Command: "
            f"`python -m benchmarks.fewrel.run`; files: `{LANGUAGE}`.\n\n{first}\n\n{second}")


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
