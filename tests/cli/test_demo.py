"""The demos, with a few steps each: they write their files, and a seed determines the results."""

import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import graphfew as gf
from graphfew.cli import app
from graphfew.cli.demos import few_labels, full_demo, short_demo, stage_progress, unseen_scripts

FULL_PLAN = full_demo.FullDemoPlan(encoder=3, egnn=3, gnn=3, batch=2, test_tasks=3)
FILES = ("accuracy.png", "episode.png", "results.json")


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    """Folder and printed text of a short demo."""
    out = tmp_path_factory.mktemp("short")
    text = io.StringIO()
    short_demo.run_demo(out, 0, short_demo.QUICK, Console(width=120, file=text))
    return out, text.getvalue()


@pytest.fixture(scope="module")
def few_training_glyphs():
    """The full demo trains on 40 glyphs: encoding all 467 would take most of the time."""
    glyphs = gf.data.glyphs

    def load(split):
        dataset = glyphs(split=split)
        return unseen_scripts.select_classes(dataset, 40) if split == "train" else dataset

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(full_demo.data, "glyphs", load)
        yield


@pytest.fixture(scope="module")
def full_run(tmp_path_factory, few_training_glyphs):
    """Folder of a full demo."""
    out = tmp_path_factory.mktemp("full")
    full_demo.run_full_demo(out, 0, FULL_PLAN)
    return out


def test_the_short_demo_writes_results_and_pictures(short_run):
    out, _ = short_run
    assert sorted(file.name for file in out.iterdir()) == sorted(FILES)
    for name in ("accuracy.png", "episode.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    content = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert content["command"] == "graphfew demo --seed 0"
    assert content["seed"] == 0
    assert set(content["machine"]) == {"processor", "cores", "threads", "system"}
    assert content["versions"]["graphfew"] == gf.__version__
    assert {row["data"] for row in content["labeling"]} == {
        short_demo.PIXELS,
        short_demo.UNSEEN_GLYPHS,
    }
    assert all(len(row["accuracies"]) == 2 for row in content["labeling"])
    rows = {(row["training"], row["method"], row["shot"]) for row in content["episodes"]}
    assert len(rows) == len(content["episodes"]) == 9
    modes = {row["method"]: row["result"]["mode"] for row in content["episodes"]}
    assert modes["EGNN, transductive"] != modes["EGNN, inductive"]


def test_the_short_demo_prints_lines_and_both_tables_without_a_terminal(short_run):
    _, text = short_run
    for title in ("Draw the glyphs", "Part 1: one label per class", "Part 2: test on"):
        assert title in text
    assert "\x1b" not in text
    for method in few_labels.labeling_methods():
        assert method in text
    assert text.count("prototypes") == 2


def test_the_same_seed_gives_the_same_results(short_run, tmp_path):
    out, _ = short_run
    short_demo.run_demo(tmp_path, 0, short_demo.QUICK, Console(quiet=True))
    first, second = (
        json.loads((folder / "results.json").read_text(encoding="utf-8"))
        for folder in (out, tmp_path)
    )
    for part in ("labeling", "episodes", "plan", "versions"):
        assert first[part] == second[part]


def test_a_labeling_task_gives_one_label_per_class():
    first, second = few_labels.digit_tasks(2, seed=0)
    for task in (first, second):
        labeled = task.labels != few_labels.UNLABELED
        assert sorted(task.labels[labeled]) == list(range(10))
        assert (task.labels[labeled] == task.target[labeled]).all()
    assert not np.array_equal(first.labels, second.labels)
    (again,) = few_labels.digit_tasks(1, seed=0)
    assert np.array_equal(again.labels, first.labels)


def test_glyph_tasks_draw_other_classes_each_time():
    features = np.random.default_rng(0).normal(size=(30 * 4, 5)).astype(np.float32)
    dataset = gf.data.arrays(features, np.repeat(np.arange(30), 4))
    first, second = few_labels.glyph_tasks(dataset, 2, seed=0)
    for task in (first, second):
        assert len(np.unique(task.target)) == few_labels.N_GLYPH_CLASSES
        np.testing.assert_allclose(np.linalg.norm(task.features, axis=1), 1, rtol=1e-5)
    assert set(first.target) != set(second.target)


def test_images_and_features_give_the_same_tasks():
    """The episode plot shows the images of the items whose features the model receives."""
    images = gf.data.digits()
    numbered = np.arange(len(images), dtype=np.float32)[:, None]
    features = gf.data.arrays(numbered, images.y)
    (of_images, _), (of_features, _) = (
        unseen_scripts.episode_tasks(dataset, 1, seed=0)[3] for dataset in (images, features)
    )
    index = of_features.x[:, 0].long()
    expected = images.gather(index)
    assert (of_images.x == expected).all()


@pytest.mark.parametrize("part", ["compare_labeling", "evaluate_models"])
def test_an_interrupt_ends_the_demo_with_a_message_and_no_files(monkeypatch, tmp_path, part):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    module = few_labels if part == "compare_labeling" else unseen_scripts
    monkeypatch.setattr(module, part, interrupt)
    outcome = CliRunner().invoke(app, ["demo", "--quick", "--out", str(tmp_path / "demo")])
    assert outcome.exit_code == 130
    assert "no results were written" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not (tmp_path / "demo").exists()


def test_an_interrupted_process_ends_with_a_message(tmp_path):
    command = [sys.executable, "-m", "graphfew", "demo", "--out", str(tmp_path / "demo")]
    process = subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Background jobs of a shell ignore SIGINT, and child processes inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # The first line comes when the demo starts, long before it is done.
    assert "Draw the glyphs" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "no results were written" in err
    assert "Traceback" not in err
    assert not (tmp_path / "demo").exists()


def test_a_stage_prints_a_line_every_few_seconds(monkeypatch):
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(stage_progress.time, "perf_counter", lambda: float(next(clock)))
    text = io.StringIO()
    with stage_progress.stage(Console(file=text, width=80), "Training", 6) as advance:
        for step in range(6):
            advance(f"loss {step}")
    lines = text.getvalue().splitlines()
    assert lines[0] == "Training ..."
    assert lines[1:-1] == ["  Training: 3/6  loss 2", "  Training: 6/6  loss 5"]
    assert lines[-1].startswith("Training: done in ")


def test_a_stage_shows_a_bar_on_a_terminal():
    text = io.StringIO()
    console = Console(file=text, width=100, force_terminal=True)
    with stage_progress.stage(console, "Training", 2) as advance:
        advance("loss 1")
        advance("loss 0")
    assert "2/2" in text.getvalue()
    assert "Training ..." not in text.getvalue()


def test_the_command_chooses_demo_and_plan(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(short_demo, "run_demo", lambda *a: calls.append(("short", *a)))
    monkeypatch.setattr(full_demo, "run_full_demo", lambda *a: calls.append(("full", *a)))
    for options in ([], ["--quick"], ["--full"], ["--full", "--quick"]):
        arguments = ["demo", *options, "--out", str(tmp_path), "--seed", "3"]
        assert CliRunner().invoke(app, arguments).exit_code == 0
    assert calls == [
        ("short", tmp_path, 3, None),
        ("short", tmp_path, 3, short_demo.QUICK),
        ("full", tmp_path, 3, None),
        ("full", tmp_path, 3, full_demo.QUICK_FULL),
    ]


def test_the_full_demo_writes_a_table_a_model_and_a_picture(full_run):
    content = json.loads((full_run / "results.json").read_text())
    cells = {(c["method"], c["where"], c["shot"]) for c in content["cells"]}
    assert len(cells) == 6 * 2 * 2
    modes = {c["result"]["mode"] for c in content["cells"] if c["method"].startswith("EGNN")}
    assert modes == {"transductive", "inductive"}
    assert (full_run / "episode.png").read_bytes().startswith(b"\x89PNG")
    assert gf.load(full_run / "egnn").transductive


def test_the_full_demo_gives_the_same_accuracies_for_the_same_seed(
    full_run, few_training_glyphs, tmp_path
):
    full_demo.run_full_demo(tmp_path, 0, FULL_PLAN)
    assert (tmp_path / "results.json").read_text() == (full_run / "results.json").read_text()
