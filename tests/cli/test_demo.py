"""The demo, cut to a few steps: its files are there, and say the same for the same seed."""

import json

import pytest

import graphfew as gf
from graphfew.cli import run_demo as demo

PLAN = demo.Plan(encoder=30, egnn=30, gnn=30, batch=2, test_tasks=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    demo.run(out, 0, PLAN)
    return out


def test_it_writes_a_table_a_model_and_a_picture(folder):
    content = json.loads((folder / "results.json").read_text())
    cells = {(c["method"], c["where"], c["shot"]) for c in content["cells"]}
    assert len(cells) == 6 * 2 * 2
    modes = {c["result"]["mode"] for c in content["cells"] if c["method"].startswith("EGNN")}
    assert modes == {"transductive", "inductive"}
    assert (folder / "episode.png").read_bytes().startswith(b"\x89PNG")
    assert gf.load(folder / "egnn").transductive


def test_the_same_seed_gives_the_same_accuracies(folder, tmp_path):
    demo.run(tmp_path, 0, PLAN)
    assert (tmp_path / "results.json").read_text() == (folder / "results.json").read_text()
