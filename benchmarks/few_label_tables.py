"""The README's tables of a pile of unlabelled items and of large graphs; `benchmarks.tables` places them."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.method_tables import markdown, percent

POOL = Path("benchmarks/pool/results")
SCALE = Path("benchmarks/scale/results")


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
