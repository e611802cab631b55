"""The curves of accuracy: every measurement once, resumable, with the trained number of steps kept."""

import json

import pytest

import graphfew as gf
from benchmarks import accuracy_curves


@pytest.fixture
def folders(tmp_path):
    encoder = gf.backbones.conv4(width=2)
    models = {
        "prototypical": gf.create("prototypical", encoder=encoder),
        "anil": gf.create("anil", encoder=encoder, way=5, steps=2),
        "maml": gf.create("maml", encoder=encoder, way=5, steps=2, start=gf.nn.own_rows),
    }
    for name, model in models.items():
        gf.save(model, tmp_path / f"{name}.safetensors")
    return {name: tmp_path / f"{name}.safetensors" for name in models}


def test_measurements_are_recorded_once_and_plotted(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(accuracy_curves, "SHOTS", (1, 5))
    monkeypatch.setattr(accuracy_curves, "STEPS", (1, 2))
    out = tmp_path / "curves.jsonl"
    arguments = ["--data", "glyphs", "--tasks", "2", "--out", str(out)]
    arguments += ["--encoder", str(folders["prototypical"]), "--heads", "prototypical"]
    arguments += ["--runs", f"anil={folders['anil']}", f"maml={folders['maml']}"]
    accuracy_curves.main(arguments)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 2 + 2 * (2 + 2)
    assert {row["steps"] for row in rows if row["method"] == "prototypical"} == {None}
    assert sorted({row["steps"] for row in rows if row["method"] == "maml"}) == [1, 2]
    assert out.with_suffix(".svg").exists()
    before = out.read_text()
    accuracy_curves.main(arguments)
    assert out.read_text() == before


def test_inner_steps_are_set_for_evaluation(folders):
    models = accuracy_curves.load_models(folders, None, [])
    assert accuracy_curves.inner_steps(models["prototypical"]) is None
    for name in ("anil", "maml"):
        assert accuracy_curves.set_inner_steps(models[name], 7)
        assert accuracy_curves.inner_steps(models[name]) == 7


def test_a_run_without_a_name_is_rejected():
    with pytest.raises(SystemExit):
        accuracy_curves.main(["--data", "glyphs", "--out", "x.jsonl", "--runs", "folder"])
