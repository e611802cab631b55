"""Tables of all methods, of heads, of the unlabeled set and of scale; `benchmarks.tables` inserts them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import graphfew as gf

UNLABELED_SET, SCALE = Path("benchmarks/unlabeled_set/results"), Path("benchmarks/scale/results")
EFFECTIVE_CLASSES = Path("benchmarks/results/clinc150-effective-classes.jsonl")
MEAN = "nearest class mean"
HEADS = Path("benchmarks/speed/results/heads.json")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns except the first are right-aligned."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(result: dict[str, Any]) -> str:
    """`mean ± half width` in percent."""
    return f"{100 * result['mean']:.2f} ± {100 * result['half_width']:.2f}"


def methods(root: Path) -> str:
    """All registered methods, those of equal capabilities in one row."""
    del root
    names_by_facts: dict[tuple[str, ...], list[str]] = {}
    for name, method in sorted(gf.METHODS.items()):
        modes = [mode for mode in ("inductive", "transductive") if getattr(method, mode)]
        loss = getattr(method.loss, "__name__", None)
        facts = (
            ", ".join(modes),
            f"`{loss}`" if loss else "–",
            "fixed" if method.fixed_way else "any",
            "fixed" if method.fixed_shot else "any",
            "used" if method.unlabeled else "not accepted",
        )
        names_by_facts.setdefault(facts, []).append(f"`{name}` ({method.paper})")
    rows = [["; ".join(names), *facts] for facts, names in sorted(names_by_facts.items())]
    return markdown(["methods", "modes", "trained with", "way", "shot", "unlabeled items"], rows)


def effective_classes(root: Path) -> str:
    """Differences from the nearest class mean if the queries belong to few of the classes."""
    lines = (root / EFFECTIVE_CLASSES).read_text(encoding="utf-8").splitlines()
    results = {}
    for record in map(json.loads, lines):
        result = gf.Result.from_json(record["result"])
        results[record["row"], str(result.tasks["query"])] = result
    queries = list(dict.fromkeys(query for _, query in results))
    rows = []
    for name in dict.fromkeys(name for name, _ in results):
        if name == MEAN:
            continue
        cells = []
        for query in queries:
            if (name, query) not in results:
                cells.append("–")
                continue
            compared = gf.compare_results(results[name, query], results[MEAN, query])
            cells.append(f"{100 * compared.difference:+.2f} ± {100 * compared.half_width:.2f}")
        rows.append([name, *cells])
    head = [
        re.sub(r"effective\((.+), (.+)\)", r"\2 queries of \1 classes", query) for query in queries
    ]
    return (
        "Points above the nearest class mean, with half of the 95 % interval of the paired "
        "difference:\n\n" + markdown(["150-way 1-shot", *head], rows)
    )


def heads(root: Path) -> str:
    """Tasks per second of heads on features."""
    content = json.loads((root / HEADS).read_text())
    rows = [
        [name, f"{row['tasks_per_second']:,.0f}", f"{row['of_prototypes']:.3f}"]
        for name, row in content["heads"].items()
    ]
    return (
        f"Heads on features, 5-way 5-shot, 75 queries, 640 features, batches of {content['setting']['tasks']} tasks, "
        f"{content['threads']} threads of a CPU (`python -m benchmarks.speed.heads`, interleaved, median of "
        f"{content['repeats']}; `{HEADS}`). The probabilities of a task in the batch and alone differ by at most "
        f"{max(row['difference_to_alone'] for row in content['heads'].values()):.0e}.\n\n"
        + markdown(["head", "tasks per second", "relative to prototypes"], rows)
    )


def unlabeled_set(root: Path) -> str:
    """One label per intent and a set of unlabeled utterances."""
    cells = [json.loads(path.read_text()) for path in sorted((root / UNLABELED_SET).glob("*.json"))]
    found = {(c["name"], c["known"]): c for c in cells}
    names = sorted({c["name"] for c in cells}, key=lambda name: -found[name, 75]["mean"])
    rows = [
        [
            name,
            percent(found[name, 150]),
            percent(found[name, 75]),
            f"{found[name, 150]['auroc']:.4f} ± {found[name, 150]['auroc_half_width']:.4f}",
        ]
        for name in names
    ]
    head = [
        "`FewShotClassifier`, inductive, accuracy in %",
        "150 intents, no OOD items",
        "75 intents, half of the unlabeled set OOD",
        "out of scope, AUROC (150 intents)",
    ]
    return (
        f"CLINC150, all-MiniLM-L6-v2: one label per intent and {cells[0]['pile_per_intent']} unlabeled utterances "
        f"of each of the 150 intents, from the train split; utterances of the test split are predicted one by one; "
        f"{len(cells[0]['draws'])} draws of labeled and unlabeled items, 95 % intervals over draws. Command: "
        f"`python -m benchmarks.unlabeled_set.run`; files: `{UNLABELED_SET}`.\n\n{markdown(head, rows)}\n\n"
        f"![Accuracy against coverage](unlabeled_set/results/coverage.png)"
    )


def scale(root: Path) -> str:
    """Label spreading and EGNN on large graphs."""
    spreading, egnn = (
        json.loads((root / SCALE / f"{name}.json").read_text()) for name in ("spreading", "egnn")
    )
    rows = [
        [
            f"{row['nodes']:,}",
            f"{row['edges']:,}",
            f"{row['search_seconds']:.1f}",
            f"{row['spread_seconds']:.2f}",
            f"{row['peak_bytes'] / 1e9:.2f}",
            f"{100 * row['accuracy']:.1f}",
        ]
        for row in spreading["rows"]
    ]
    setting, blocked = spreading["setting"], egnn["blocked"]
    head = ["nodes", "edges", "search, s", "spreading, s", "peak memory, GB", "accuracy, %"]
    before = spreading["rows"][0]["bytes_before"] / 1e9
    return (
        f"Label spreading by conjugate gradients on the {setting['k']} nearest neighbors, {setting['dim']} "
        f"features, {setting['classes']} classes with one label each, synthetic data, {spreading['threads']} thread "
        f"(`{spreading['command']}`; memory of the whole process, {before:.2f} GB of it at the start):\n\n"
        f"{markdown(head, rows)}\n\nEGNN (3 layers, width 96) on one graph of {blocked['nodes']:,} nodes needs "
        f"{blocked['peak_bytes'] / 1e9:.2f} GB, with the same predictions as the plain implementation "
        f"(`python -m benchmarks.scale.egnn`)."
    )
