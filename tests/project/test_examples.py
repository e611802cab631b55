"""The examples run, and do what they say."""

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
def a_registry_of_its_own() -> Iterator[None]:
    """What an example registers is gone after its test."""
    kept = dict(registry.METHODS)
    yield
    registry.METHODS.clear()
    registry.METHODS.update(kept)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def data_folder(*files: str) -> str:
    """The folder of the data sets, where it holds these files; otherwise the test is skipped."""
    folder = os.environ.get("GRAPHFEW_DATA", "")
    missing = [file for file in files if not folder or not (Path(folder) / file).is_file()]
    if missing:
        pytest.skip(f"GRAPHFEW_DATA has no {', '.join(missing)}")
    return folder


def test_own_features_labels_digits_far_above_chance():
    accuracy = load("own_features").main()
    assert min(accuracy.values()) > 0.6
    assert load("own_features").main() == accuracy


def test_a_new_method_is_one_file():
    result = load("new_method").main(steps=3, tasks=4)
    assert result.a.model["method"] == "soft_neighbors"
    assert result.a.tasks == result.b.tasks
    assert result.difference == pytest.approx(result.a.mean - result.b.mean)


def test_an_encoder_gains_from_each_stage():
    results = load("pretrained_encoder").main(steps=40, tasks=40)
    drawn, _, tuned, averaged = (result.mean for result in results.values())
    assert tuned > 1.5 * drawn
    assert averaged > tuned - 0.05
    assert results["then 8 copies averaged"].model["encoder"]["name"] == "affine_tta"


def test_a_folder_is_labeled_surely_and_rightly(tmp_path):
    figures = load("label_folder").main(tmp_path, each=40)
    assert figures["surest half"] > figures["all"] > 0.7
    assert (tmp_path / "labels.png").stat().st_size > 10_000


def test_unlabeled_shots_help_most_where_few_are_labeled(monkeypatch, capsys):
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


def test_a_pile_of_digits_helps_and_tells_strangers(monkeypatch, capsys):
    monkeypatch.delenv("GRAPHFEW_DATA", raising=False)
    figures = load("intents").main()
    assert "digits instead" in capsys.readouterr().out
    check_intents(figures)


def test_intents_on_clinc150():
    figures = load("intents").main(data_folder("clinc150/minilm_embeddings.npz"), draws=2)
    check_intents(figures)
    assert figures["all known"]["pool area"].mean() > 0.9


def check_intents(figures):
    for found in figures.values():
        assert found["pool"].mean() > found["nearest"].mean() + 0.04
    every = figures["all known"]
    assert (every["pool area"] > every["nearest area"]).all()
    assert every["strange refused"].mean() > every["refused"].mean() + 0.03
    assert (every["right"] <= every["pool"] + 1e-9).all()
    assert (every["right"] + every["refused"] <= 1 + 1e-9).all()


def test_what_is_told_even_loses_where_queries_are_not():
    compared = load("uneven_queries").main(tasks=60)
    even, default = (
        {division: found[name] for division, found in compared.items()}
        for name in ("PT-MAP, told even", "propagated prototypes")
    )
    assert even["balanced"].difference > even["balanced"].half_width
    assert default["balanced"].difference > default["balanced"].half_width
    assert default["Dirichlet(2)"].difference > default["Dirichlet(2)"].half_width
    assert even["Dirichlet(2)"].difference < -even["Dirichlet(2)"].half_width
    assert even["single class"].difference < -0.4
    assert even["single class"].difference < default["single class"].difference - 0.3


def test_a_convolution_of_torch_geometric_is_a_layer():
    compared = load("pyg_layer").main(encoder_steps=60, steps=100, tasks=200)
    trained = compared["trained"]
    assert trained.difference > trained.half_width
    assert trained.a.mean > compared["untrained"].a.mean
    assert trained.a.mean > compared["trained, each query alone"].a.mean
    assert trained.a.mode.transductive
    assert not compared["trained, each query alone"].a.mode.transductive


@pytest.mark.parametrize("installed", [True, False])
def test_a_language_model_learns_to_overhear_filler(installed, monkeypatch, capsys):
    if installed:
        pytest.importorskip("transformers")
    else:
        monkeypatch.setitem(sys.modules, "transformers", None)
    before, after = load("hugging_face_encoder").main(tasks=100).values()
    assert ("not installed" in capsys.readouterr().out) is not installed
    assert before.mean > 0.4
    assert after.mean > before.mean + after.half_width


def test_labels_reach_many_items():
    found = load("many_items").main(items=4000)
    nearest = found.pop("nearest class mean")[1]
    assert nearest > 0.5
    assert min(accuracy for _, accuracy in found.values()) > nearest + 0.03


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_is_short_and_says_what_it_is(file):
    source = file.read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert len(source.splitlines()) <= 100
    assert f"Run: python examples/{file.name}" in ast.get_docstring(tree)
    assert any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
    assert 'if __name__ == "__main__":' in source


def test_the_readme_lists_every_example_and_no_other():
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    section = readme.split("\n## Examples\n")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `examples/(\w+\.py)` \|", section, flags=re.MULTILINE)
    assert sorted(listed) == [file.name for file in FILES]
    assert set(re.findall(r"examples/(\w+\.py)", readme)) == set(listed)
