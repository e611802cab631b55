"""The README's tables of all methods, from the registry and from result files; `benchmarks.tables` places them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import graphfew as gf

FEATURES = Path("benchmarks/features/results")
OMNIGLOT = Path("benchmarks/omniglot/results/methods")
LANGUAGE = Path("benchmarks/fewrel/results")
HEADS = Path("benchmarks/speed/results/heads.json")
# Accuracy of the paper (or of the re-implementation that papers cite): 5-way 1- and 5-shot, 20-way 1- and 5-shot.
PUBLISHED = {
    "prototypical": ("98.8", "99.7", "96.0", "98.9"), "siamese": ("97.3", "98.4", "88.2", "97.0"),
    "matching": ("98.1", "98.9", "93.8", "98.5"), "relation": ("99.6", "99.8", "97.6", "99.1"),
    "gnn": ("99.2", "99.7", "97.4", "99.0"),
}


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


def features(root: Path) -> str:
    """Methods without training on two sets of features, even and uneven queries."""
    cells = [(path.parts[-3:], json.loads(path.read_text())) for path in sorted((root / FEATURES).glob("*/*/*.json"))]
    places = [(data, f"{shot}shot-{query}") for data in ("cifar-fs", "clinc150") for shot in (1, 5)
              for query in ("15", "dirichlet-75-2-0", "dirichlet-75-2.0")]
    found = {((data, place), result["name"]): result for (data, place, _), result in cells}
    places = [place for place in places if any(key[0] == place for key in found)]
    assumes = {result["name"]: result["assumes"] for _, result in cells}
    names = sorted(assumes, key=lambda name: (assumes[name] == "even", _mean(found, places[0], name)))
    table = []
    for data in ("cifar-fs", "clinc150"):
        own = [place for place in places if place[0] == data]
        rows = [[f"{name}{' (inductive)' if _inductive(found, own[0], name) else ''}",
                 *(percent(found[place, name]) for place in own)] for name in names if (own[0], name) in found]
        head = [f"{data}, {place[1].split('-')[0].replace('shot', '-shot')}, "
                f"{'15 per class' if place[1].endswith('15') else 'Dirichlet(2), 75'}" for place in own]
        table.append(markdown(["5-way, accuracy in %", *head], rows))
    wide = [[result["name"], percent(result)] for (data, *_), result in cells if data == "clinc150-all"]
    table.append(markdown(["CLINC150, all 150 classes, 1-shot, 15 queries per class, 20 tasks", "accuracy in %"], wide))
    return ("Nothing is trained; 1,000 tasks, 95 % intervals over tasks. *even* rows are told that the queries are "
            "divided evenly, which the Dirichlet(2) tasks are not; all others are told nothing. CIFAR-FS: test "
            "classes, square roots of the features of a small residual network trained on the training classes; "
            "CLINC150: all-MiniLM-L6-v2. Command: `python -m benchmarks.features.run`; files: "
            f"`{FEATURES}`.\n\n" + "\n\n".join(table))


def _mean(found: dict[Any, dict[str, Any]], place: tuple[str, str], name: str) -> float:
    return float(found[place, name]["mean"]) if (place, name) in found else 0.0


def _inductive(found: dict[Any, dict[str, Any]], place: tuple[str, str], name: str) -> bool:
    return found[place, name]["mode"] == "inductive" and "inductive" not in name


def omniglot(root: Path) -> str:
    """Every trainable method on Omniglot, beside its published figure."""
    columns = [(5, 1), (5, 5), (20, 1), (20, 5)]
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for column, (way, shot) in enumerate(columns):
        for path in sorted((root / OMNIGLOT / f"{way}way-{shot}shot").glob("*.json")):
            result = json.loads(path.read_text())
            found.setdefault(result["model"]["method"], {})[column] = result
    rows = []
    for name in sorted(found, key=lambda name: -float(found[name][0]["mean"])):
        paper = PUBLISHED.get(name, ("–",) * 4)
        ours = [percent(found[name][i]) if i in found[name] else "–" for i in range(4)]
        rows.append([f"`{name}`, {found[name][0]['mode']}",
                     *(f"{a} ({b})" if b != "–" else a for a, b in zip(ours, paper, strict=True))])
    head = ["5 queries per class, accuracy in % (published)", *(f"{way}-way {shot}-shot" for way, shot in columns)]
    return ("Omniglot, Vinyals' split with rotations, test classes, 1,000 tasks each (seed 0), 95 % intervals over "
            "tasks; one training seed, checkpoints selected on the validation alphabets. Published figures are mostly "
            "of other random splits. All but the relation network stand on the prototypes' encoder. Commands: "
            f"`benchmarks/omniglot/methods.sh`; files: `{OMNIGLOT}`.\n\n{markdown(head, rows)}")


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
