"""Tests the checkpoints of `run.sh` and `methods.sh`: `python -m benchmarks.omniglot.measure`.

Each item of the test split is encoded once per encoder, and tasks are drawn from the features; a method that encodes in
the light of the task sees the images. Each cell (way, shots, checkpoint) is a JSON file, written when it is done;
finished ones are skipped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from safetensors.torch import save

import graphfew as gf
from benchmarks import files

RESULTS = Path("benchmarks/omniglot/results")
ANYTHING = ("prototypical", "siamese", "matching", "matching_fce", "relation", "induction", "feat", "tadam",
            "multi_metric", "attention_attractor", "tpn", "epnet", "egnn")
COLUMNS = ((5, 1), (5, 5), (20, 1), (20, 5))


def cells(runs: Path) -> Iterator[tuple[int, int, str]]:
    """Way, shots and checkpoint of each cell: those that are there and made for such tasks."""
    for way, shot in COLUMNS:
        names = [*ANYTHING, f"hybrid_attention-{shot}shot", f"dpgn-{way}way{shot}shot",
                 "gnn" if way == 5 else f"gnn-{way}way"]
        yield from ((way, shot, name) for name in names if (runs / name / "best.safetensors").is_file())


def encoded(model: gf.GraphMethod, images: gf.Dataset, known: dict[str, gf.Dataset]) -> gf.Dataset:
    """The images' features, each encoder's once."""
    weights = {name: value.contiguous() for name, value in model.encoder.state_dict().items()}
    key = hashlib.sha256(save(weights)).hexdigest()
    if key not in known:
        known[key] = gf.data.embed(images, model.encoder, progress=False)
    return known[key]


def ready(model: gf.GraphMethod, images: gf.Dataset, known: dict[str, gf.Dataset]) -> tuple[gf.GraphMethod, gf.Dataset]:
    """The method and what it is tested on: features where it takes them, the same facts in its results."""
    if model.condition is not None:
        return model, images
    head = model.on_features()
    head.recipe, head.provenance = model.recipe, model.provenance
    return head, encoded(model, images, known)


def main() -> None:
    """Test what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", help="folder of Omniglot's archives; GRAPHFEW_DATA/omniglot where it is left out")
    parser.add_argument("--runs", type=Path, default=RESULTS)
    parser.add_argument("--tasks", type=int, default=1000)
    given = parser.parse_args()
    images, known = gf.data.omniglot(given.root, split="test"), {}
    for way, shot, name in cells(given.runs):
        path = given.runs / "methods" / f"{way}way-{shot}shot" / f"{name}.json"
        if path.exists():
            continue
        model, data = ready(gf.load(given.runs / name / "best.safetensors"), images, known)
        tasks = gf.Tasks(data, way=way, shot=shot, query=5, seed=0)
        result = gf.evaluate(model, tasks, n=given.tasks)
        content = {"command": "python -m benchmarks.omniglot.measure", "checkpoint": name, **result.to_json()}
        files.write(path, json.dumps(content, separators=(",", ":"), default=str) + "\n")
        print(f"{way}-way {shot}-shot {name}: {result}", flush=True)


if __name__ == "__main__":
    main()
