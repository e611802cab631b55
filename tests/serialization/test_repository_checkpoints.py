"""The pretrained checkpoints of the package: size, model cards, and accuracy."""

import re
from pathlib import Path

import pytest
import torch

import graphfew as gf
from graphfew.benchmark import read_records

NAMES = gf.pretrained.names()
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.fixture(scope="module")
def characters(real_omniglot, tmp_path_factory):
    """Omniglot's test split."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRAPHFEW_CACHE", str(tmp_path_factory.mktemp("cache")))
        return gf.data.omniglot(real_omniglot, split="test", progress=False)


def test_expected_checkpoints_exist():
    assert {"egnn-omniglot", "gnn-omniglot", "prototypical-omniglot"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_small_and_predicts(name):
    assert gf.pretrained.path(name).stat().st_size < 5_000_000
    model = gf.load(name).eval()
    generator = torch.Generator().manual_seed(0)
    query = torch.arange(15) >= 5
    episode = gf.Episode(
        torch.rand(15, 1, 28, 28, generator=generator),
        torch.arange(15).masked_fill(query, -1),
        query,
        (15,),
        (5,),
    )
    probabilities = model(episode).logits.softmax(1)
    assert probabilities.shape == (10, 5)
    assert torch.isfinite(probabilities).all()


@pytest.mark.parametrize("name", NAMES)
def test_each_card_has_all_sections(name):
    text = gf.pretrained.model_card(name)
    for part in (
        "**Data.**",
        "MIT license",
        "**Training.**",
        "Seed 0",
        "selected on omniglot/val",
        "**Command.** `graphfew bench",
        "**Accuracy**",
        "**Limits.**",
    ):
        assert part in text


@pytest.mark.parametrize("name", NAMES)
def test_accuracies_of_each_card_are_in_the_results(name):
    records, _ = read_records(RESULTS / "omniglot.jsonl")
    known = {
        f"{100 * r.result.mean:.2f} ± {100 * r.result.half_width:.2f}"
        for r in records
        if r.seed == 0
    }
    shown = re.findall(
        r"\| (\d+\.\d\d ± \d+\.\d\d) \|$", gf.pretrained.model_card(name), re.MULTILINE
    )
    assert shown
    assert set(shown) <= known


@pytest.mark.parametrize("name", NAMES)
def test_each_reaches_the_accuracy_of_its_card(name, characters, one_thread):
    model = gf.load(name)
    data = gf.data.encode(characters, model.encoder, progress=False)
    result = gf.evaluate(
        model.on_features(), gf.Tasks(data, way=5, shot=1, query=5), n=100, batch=10
    )
    line = rf"\| {result.mode} \| 5 \| 1 \| balanced\(5\) \| 1,000 \| (\d+\.\d\d) ±"
    (expected,) = re.findall(line, gf.pretrained.model_card(name))
    assert 100 * result.mean == pytest.approx(float(expected), abs=3 * 100 * result.half_width)
