"""Write the tables of README.md and benchmarks/RESULTS.md from result files: `python -m benchmarks.tables`.

Every number comes from a JSON file in the repository, which contains the command that produced it.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from benchmarks import files, method_tables, speed_tables, summary
from benchmarks.active_learning import summary as active_summary
from benchmarks.method_tables import markdown, percent
from benchmarks.unlabeled_sets import suite_tables
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


# Sections by marker; each function takes the root of the repository.
SECTIONS = {
    "demo": demo,
    "effective-classes": method_tables.effective_classes,
    "unlabeled-set": method_tables.unlabeled_set,
    "unlabeled-sets": suite_tables.unlabeled_sets,
    "active-learning": active_summary.active_learning,
    "speed": speed_tables.speed,
    "floors": speed_tables.floors,
    "scale": method_tables.scale,
    "heads": method_tables.heads,
    "fitted": speed_tables.fitted,
    "latency": speed_tables.latency,
    "inner-loop": speed_tables.inner_loop,
}


def fill(text: str, name: str, content: str) -> str:
    """Replace the text between `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ValueError: the markers are missing.
    """
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"the document has no <!-- {name} --> and <!-- /{name} -->")
    return pattern.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text)


def collect(root: Path) -> report.BenchmarkReport:
    """All recorded benchmarks, with published results."""
    folder = root / "benchmarks"
    published = read_published_results(folder / "published.toml")
    return report.collect_report(folder / "results", published, folder / "specs")


def spec_tables(content: report.BenchmarkReport) -> dict[str, str]:
    """The tables of every spec that has results, by its name."""
    tables = {}
    for benchmark in content.benchmarks:
        if benchmark.results:
            made = report.make_tables(benchmark, content.published)
            tables[benchmark.name] = report.render_markdown(made)
    return tables


def rendered(content: report.BenchmarkReport, root: Path = ROOT) -> dict[str, str]:
    """The documents, by name, with all tables generated again from `collect(root)`."""
    readme = (root / README).read_text(encoding="utf-8")
    readme = fill(readme, "results", summary.summary(content.benchmarks))
    readme = fill(readme, "methods", method_tables.methods(root))
    results = (root / RESULTS).read_text(encoding="utf-8")
    for name, section in SECTIONS.items():
        results = fill(results, name, section(root))
    return {README: readme, RESULTS: report.fill_markers(results, spec_tables(content))}


def main() -> None:
    """Rewrite the documents, or with `--check` fail if they differ from the result files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    texts = rendered(collect(ROOT))
    stale = [
        name for name, text in texts.items() if (ROOT / name).read_text(encoding="utf-8") != text
    ]
    if parser.parse_args().check:
        raise SystemExit(f"out of date: {', '.join(stale)}" if stale else 0)
    for name in stale:
        files.write(ROOT / name, texts[name])


if __name__ == "__main__":
    main()
