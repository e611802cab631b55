"""Writes the tables of README.md and benchmarks/RESULTS.md from result files: `python -m benchmarks.tables`.

Every figure comes from a JSON file in the repository, which holds the command that made it and every task's accuracy.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from benchmarks import files, headlines, method_tables, speed_tables
from benchmarks.method_tables import markdown, percent
from graphfew.benchmark import read_published_results, report

ROOT = Path(__file__).parent.parent
README, RESULTS = "README.md", "benchmarks/RESULTS.md"
DEMO = Path("benchmarks/demo/results.json")


def demo(root: Path) -> str:
    """The two tables that `make demo` prints."""
    content = json.loads((root / DEMO).read_text(encoding="utf-8"))
    plan = content["plan"]
    return (
        f"Accuracy on the unlabeled items in %, one label per class, {plan['n_draws']} draws, default arguments:\n\n"
        f"{_demo_labeling(content)}\n\n"
        f"5-way accuracy on Armenian and Lao glyphs in %, over the same frozen encoder:\n\n"
        f"{_demo_episodes(content)}\n\n"
        f"95 % intervals; command: `{content['command']}`; file: `{DEMO}`."
    )


def _demo_labeling(content: dict[str, Any]) -> str:
    cells = {(row["data"], row["method"]): percent(row) for row in content["labeling"]}
    datasets = list(dict.fromkeys(data for data, _ in cells))
    rows = [
        [method, *[cells[data, method] for data in datasets]]
        for method in dict.fromkeys(method for _, method in cells)
    ]
    return markdown(["one label per class", *datasets], rows)


def _demo_episodes(content: dict[str, Any]) -> str:
    cells = {
        (row["training"], row["method"], row["shot"]): percent(row["result"])
        for row in content["episodes"]
    }
    shots = list(dict.fromkeys(shot for _, _, shot in cells))
    rows = [
        [training, method, *[cells.get((training, method, shot), "–") for shot in shots]]
        for training, method in dict.fromkeys(key[:2] for key in cells)
    ]
    return markdown(["training", "method", *[f"{shot}-shot" for shot in shots]], rows)


SECTIONS = {
    "demo": demo,
    "speed": speed_tables.speed,
    "methods": method_tables.methods,
    "heads": method_tables.heads,
    "pool": method_tables.pool,
    "scale": method_tables.scale,
}
FURTHER = {"floors": speed_tables.floors}


def fill(text: str, name: str, content: str) -> str:
    """The text with what stands between `<!-- name -->` and `<!-- /name -->` replaced.

    Raises:
        ValueError: the markers are not there.
    """
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"the document has no <!-- {name} --> and <!-- /{name} -->")
    return pattern.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text)


def recorded(root: Path) -> dict[str, str]:
    """The tables of every spec that has results, by its name, and the short ones of `headlines`; a document may hold
    any of them."""
    place = root / "benchmarks"
    content = report.collect_report(
        place / "results", read_published_results(place / "published.toml"), place / "specs"
    )
    whole = {
        b.name: report.render_markdown(report.make_tables(b, content.published))
        for b in content.benchmarks
        if b.results
    }
    return whole | headlines.headlines(content.benchmarks, content.figures)


def rendered(root: Path = ROOT) -> dict[str, str]:
    """The documents, by name, with every table made anew."""
    text = (root / README).read_text(encoding="utf-8")
    for name, section in SECTIONS.items():
        text = fill(text, name, section(root))
    results = (root / RESULTS).read_text(encoding="utf-8")
    for name, section in FURTHER.items():
        results = fill(results, name, section(root))
    found = recorded(root)
    return {README: report.fill_markers(text, found), RESULTS: report.fill_markers(results, found)}


def main() -> None:
    """Rewrite the documents, or with `--check` say whether they are as their result files say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    texts = rendered()
    stale = [
        name for name, text in texts.items() if (ROOT / name).read_text(encoding="utf-8") != text
    ]
    if parser.parse_args().check:
        raise SystemExit(f"not as the result files say: {', '.join(stale)}" if stale else 0)
    for name in stale:
        files.write(ROOT / name, texts[name])


if __name__ == "__main__":
    main()
