"""Interrupted runs equal uninterrupted ones; what cannot be resumed raises."""

import json

import pytest
import torch
from episodes import REQUIRED
from safetensors.torch import save_file
from small_runs import OPTIONS, same_files, stop_after

from graphfew import runs
from graphfew.methods.registry import METHODS


def copy_run(run, to):
    to.mkdir(exist_ok=True)
    for file in run.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


@pytest.mark.parametrize("n_checks", range(14))
def test_run_stopped_at_any_point_resumes_exactly(complete_run, tmp_path, n_checks):
    # 12 checks matter: after each of 7 steps, in each of 3 validations, after the first 2 of them
    out = tmp_path / "run"
    prepared = runs.prepare(out, OPTIONS)
    if n_checks < 12:
        with pytest.raises(runs.TrainingInterrupted) as stopped:
            runs.execute(prepared, should_stop=stop_after(n_checks))
        assert runs.resume(out, {}).progress.step == stopped.value.step > 0
    else:
        runs.execute(prepared, should_stop=stop_after(n_checks))
    runs.execute(runs.resume(out, {}))
    assert all(same_files(complete_run, out).values())


def test_run_stopped_repeatedly_resumes_exactly(complete_run, tmp_path):
    out = tmp_path / "run"
    prepared = runs.prepare(out, OPTIONS)
    for _ in range(20):
        try:
            runs.execute(prepared, should_stop=stop_after(1))
            break
        except runs.TrainingInterrupted:
            prepared = runs.resume(out, {"method": "egnn"})
    else:
        pytest.fail("the run makes no progress")
    assert all(same_files(complete_run, out).values())
    assert len(json.loads((out / "timing.json").read_text())["sessions"]) > 2


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"[" * 100_000, b'{"sessions": [1, {}]}', b"[]"])
def test_damaged_timing_is_ignored(complete_run, tmp_path, damage):
    out = tmp_path / "run"
    with pytest.raises(runs.TrainingInterrupted):
        runs.execute(runs.prepare(out, OPTIONS), should_stop=stop_after(2))
    (out / "timing.json").write_bytes(damage)
    runs.execute(runs.resume(out, {}))
    assert all(same_files(complete_run, out).values())
    assert len(json.loads((out / "timing.json").read_text())["sessions"]) == 1


@pytest.mark.parametrize("save_every", [1, 2, 5, 100])
def test_killed_run_resumes_from_the_last_save(complete_run, tmp_path, save_every):
    out = tmp_path / "run"

    def crash(event):
        if event.progress.step == 6 and event.step:
            raise MemoryError

    with pytest.raises(MemoryError):
        runs.execute(runs.prepare(out, {**OPTIONS, "save_every": save_every}), on_event=crash)
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    prepared = runs.resume(out, {})
    assert prepared.progress.step == {1: 5, 2: 4, 5: 5, 100: 0}[save_every]
    runs.execute(prepared)
    assert all(same_files(complete_run, out).values())


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_resumes_exactly(tmp_path, name):
    loss = {} if METHODS[name].loss else {"loss": "node"}
    arguments = REQUIRED.get(name, {})
    options = {**OPTIONS, "method": name, "arguments": arguments, "steps": 2, "query": "1", **loss}
    with pytest.raises(runs.TrainingInterrupted):
        runs.execute(runs.prepare(tmp_path / "run", options), should_stop=stop_after(0))
    runs.execute(runs.resume(tmp_path / "run", {}))
    runs.execute(runs.prepare(tmp_path / "complete_run", options))
    assert all(same_files(tmp_path / "run", tmp_path / "complete_run").values())


def test_finished_run_is_unchanged(complete_run, tmp_path):
    out = copy_run(complete_run, tmp_path / "run")
    before = {
        name: (out / name).stat().st_mtime_ns for name in ("best.safetensors", "last.safetensors")
    }
    prepared = runs.resume(out, {})
    assert prepared.progress.is_finished(prepared.config.schedule)
    assert runs.execute(prepared) == prepared.progress
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert all(same_files(complete_run, out).values())


def test_resuming_with_other_options_raises(complete_run):
    with pytest.raises(
        ValueError, match=r"steps is 7 there and 9 here; batch is 2 there and 3 here"
    ):
        runs.resume(complete_run, {"steps": 9, "batch": 3, "seed": 0})


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"\xff" * len(data),
        lambda data: data[:-1],
    ],
)
def test_damaged_last_checkpoint_raises_and_changes_nothing(complete_run, tmp_path, damage):
    copy_run(complete_run, tmp_path)
    (tmp_path / "last.safetensors").write_bytes(
        damage((complete_run / "last.safetensors").read_bytes())
    )
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"last\.safetensors is corrupt or cut short"):
        runs.resume(tmp_path, {})
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("last.safetensors", None, "not a graphfew checkpoint"),
        ("config.json", b"{", "config.json cannot be read"),
        ("config.json", b'{"arguments": {}}', "method and data"),
        ("metrics.jsonl", b"x\n", "metrics.jsonl cannot be read"),
    ],
)
def test_foreign_files_in_a_run_raise(complete_run, tmp_path, name, content, message):
    copy_run(complete_run, tmp_path)
    if content is None:
        save_file({"a": torch.zeros(1)}, tmp_path / name)
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        runs.resume(tmp_path, {})


def test_last_checkpoint_of_another_model_raises(complete_run, tmp_path):
    runs.execute(runs.prepare(tmp_path / "run", {**OPTIONS, "encoder_arguments": {"width": 5}}))
    (tmp_path / "run" / "last.safetensors").write_bytes(
        (complete_run / "last.safetensors").read_bytes()
    )
    with pytest.raises(ValueError, match="is of another model"):
        runs.resume(tmp_path / "run", {})


def test_folder_may_move_and_device_may_change(complete_run, tmp_path):
    assert (
        runs.resume(copy_run(complete_run, tmp_path / "moved"), {"device": "cpu"}).progress.step
        == 7
    )


def test_changed_versions_are_noted(complete_run, tmp_path):
    out = copy_run(complete_run, tmp_path / "run")
    assert runs.resume(out, {}).notes == ()
    config = json.loads((out / "config.json").read_text())
    config["versions"]["torch"] = "0.4"
    (out / "config.json").write_text(json.dumps(config))
    assert runs.resume(out, {}).notes == (
        f"torch was 0.4 and is {torch.__version__} since the run was started; the last digits of "
        "results may differ",
    )


@pytest.mark.parametrize("content", ["file", "hidden", "folder"])
def test_new_run_in_a_folder_that_is_not_empty_raises(tmp_path, content):
    out = tmp_path / "run"
    if content == "folder":
        (out / "sub").mkdir(parents=True)
    elif content == "hidden":
        out.mkdir()
        (out / ".keep").write_text("")
    else:
        out.write_text("mine")
    with pytest.raises(ValueError, match="give a" if content == "file" else "not empty"):
        runs.prepare(out, OPTIONS)
    assert [p.name for p in tmp_path.rglob("*")] == {
        "file": ["run"],
        "hidden": ["run", ".keep"],
        "folder": ["run", "sub"],
    }[content]


def test_empty_folder_is_accepted(tmp_path):
    runs.prepare(tmp_path, OPTIONS)
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_resuming_without_a_run_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        runs.resume(tmp_path / "none", {})
