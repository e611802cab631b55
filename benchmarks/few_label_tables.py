"""The README's tables of few labels, piles and large graphs, from result files; `benchmarks.tables` places them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import graphfew as gf
from benchmarks.method_tables import markdown, percent

SEMI = Path("benchmarks/omniglot/results/semi")
POOL = Path("benchmarks/pool/results")
FEATURES = Path("benchmarks/features/results")
SCALE = Path("benchmarks/scale/results")
RATIOS = ("0.2", "0.4", "0.6", "1")
DRAWS = {"15": "balanced", "multinomial-75": "multinomial", "dirichlet-75-2-0": "Dirichlet(2)",
         "dirichlet-75-2.0": "Dirichlet(2)", "single-class-75": "one class"}


def few(root: Path) -> str:
    """EGNN and GNN on Omniglot with a part of the support labelled, the rest used or dropped."""
    found = {}
    for ratio in RATIOS:
        for mode in ("inductive", "transductive"):
            for use in ("semi", "labelled-only"):
                for file in ("", "-gnn"):
                    content = json.loads((root / SEMI / f"{ratio}-{mode}-{use}{file}.json").read_text())
                    found |= {(r["checkpoint"].split("/")[0], mode, use, ratio): r for r in content["results"]}
    words = {"semi": "with unlabelled shots", "labelled-only": "labelled only"}
    order = [(name, mode) for name in ("egnn-semi", "gnn", "gnn-semi") for mode in ("inductive", "transductive")]
    rows = [[f"`{name}`, {mode}, {words[use]}", *(percent(found[name, mode, use, ratio]) for ratio in RATIOS)]
            for name, mode in order for use in words]
    gaps = [[f"`{name}`, {mode}", *(gap(found[name, mode, "semi", r], found[name, mode, "labelled-only", r])
                                    for r in RATIOS[:3])] for name, mode in order]
    tasks = len(found["gnn", "inductive", "semi", "0.2"]["per_task"])
    head = [f"{round(100 * float(ratio))} % labelled" for ratio in RATIOS]
    return (f"Omniglot, 5-way, 5 shots per class of which a part is labelled, 5 queries per class, test classes, "
            f"{tasks:,} tasks, 95 % intervals; one checkpoint for all cells of a row: `-semi` learned on all four "
            f"parts, the other on one-shot tasks of 1 to 30 queries. Published, GNN at 20 %: 99.18 labelled only, "
            f"99.59 semi-supervised; at 40 %: 99.59 and 99.63. Command: `benchmarks/omniglot/semi.sh`; files: "
            f"`{SEMI}`.\n\n"
            + markdown(["accuracy in %", *head], rows) + "\n\n"
            + markdown(["what the unlabelled shots add, paired", *head[:3]], gaps))


def gap(a: dict[str, Any], b: dict[str, Any]) -> str:
    """The mean paired difference in points, with its interval."""
    mean, half = gf.t_interval(np.subtract(a["per_task"], b["per_task"]))
    return f"{100 * mean:+.2f} ± {100 * half:.2f}"


def pool(root: Path) -> str:
    """One label per intent and a pile of unlabelled utterances."""
    cells = [json.loads(path.read_text()) for path in sorted((root / POOL).glob("*.json"))]
    found = {(c["name"], c["known"]): c for c in cells}
    names = sorted({c["name"] for c in cells}, key=lambda name: -found[name, 75]["mean"])
    rows = [[name, percent(found[name, 150]), percent(found[name, 75]),
             f"{found[name, 150]['auroc']:.4f} ± {found[name, 150]['auroc_half_width']:.4f}"] for name in names]
    head = ["`FewShotClassifier`, inductive, accuracy in %", "150 intents, pile of the same",
            "75 intents, half of the pile of others", "out of scope, AUROC (150 intents)"]
    return (f"CLINC150, all-MiniLM-L6-v2: one label per intent and a pile of {cells[0]['pile_per_intent']} utterances "
            f"of each of the 150 intents, of the train split; utterances of the test split are answered one by one; "
            f"{len(cells[0]['draws'])} draws of labels and pile, 95 % intervals over draws. Command: "
            f"`python -m benchmarks.pool.run`; files: `{POOL}`.\n\n{markdown(head, rows)}\n\n"
            f"![Accuracy against coverage]({POOL}/coverage.png)")


def realistic(root: Path) -> str:
    """Transductive methods against nearest class means as the queries' division changes, paired."""
    paths = sorted((root / FEATURES).glob("*/*/*.json"))
    cells = {(*path.parts[-3:-1], json.loads(path.read_text())["name"]): path for path in paths}
    tables = []
    for data in ("cifar-fs", "clinc150"):
        places = [(shot, draw) for shot in (1, 5) for draw in DRAWS
                  if (data, f"{shot}shot-{draw}", "nearest class mean") in cells]
        names = [name for name in dict.fromkeys(key[2] for key in cells)
                 if (data, "1shot-single-class-75", name) in cells and name != "nearest class mean"]
        rows = []
        for name in sorted(names):
            pairs = [tuple(json.loads(cells[data, f"{shot}shot-{draw}", own].read_text())
                           for own in (name, "nearest class mean")) for shot, draw in places]
            rows.append([name, *(gap(*pair) for pair in pairs)])
        head = [f"{shot}-shot, {DRAWS[draw]}" for shot, draw in places]
        tables.append(markdown([f"{data}, points above nearest class mean", *head], rows))
    return ("Default settings, nothing told, 5-way, 75 queries; 1,000 tasks, paired differences with 95 % intervals. "
            f"Command: `python -m benchmarks.features.run`; files: `{FEATURES}`.\n\n" + "\n\n".join(tables))


def scale(root: Path) -> str:
    """Label spreading and EGNN on large graphs."""
    spreading, egnn = (json.loads((root / SCALE / f"{name}.json").read_text()) for name in ("spreading", "egnn"))
    rows = [[f"{row['nodes']:,}", f"{row['edges']:,}", f"{row['search_seconds']:.1f}", f"{row['spread_seconds']:.2f}",
             f"{row['peak_bytes'] / 1e9:.2f}", f"{100 * row['accuracy']:.1f}"] for row in spreading["rows"]]
    setting, blocked = spreading["setting"], egnn["blocked"]
    head = ["nodes", "edges", "search, s", "spreading, s", "peak memory, GB", "accuracy, %"]
    before = spreading["rows"][0]["bytes_before"] / 1e9
    return (f"Label spreading by conjugate gradients on the {setting['k']} nearest neighbours, {setting['dim']} "
            f"numbers, {setting['classes']} classes with one label each, made features, {spreading['threads']} threads "
            f"(`{spreading['command']}`; whole process, {before:.2f} GB of it before any work):\n\n"
            f"{markdown(head, rows)}\n\nEGNN (3 layers, width 96) answers one graph of {blocked['nodes']:,} nodes in "
            f"{blocked['peak_bytes'] / 1e9:.2f} GB, with the answers of the plain path "
            f"(`python -m benchmarks.scale.egnn`).")
