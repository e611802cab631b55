"""A run that was stopped equals one that was not, and what cannot be resumed is refused."""

import json

import pytest
import torch
from safetensors.torch import save_file
from small_runs import OPTIONS, same_files, stopping_after

from graphfew import runs
from graphfew.methods.registry import METHODS


def copied(run, to):
    to.mkdir(exist_ok=True)
    for file in run.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


@pytest.mark.parametrize("asked", range(14))
def test_a_run_stopped_at_any_moment_goes_on_as_if_it_had_not(whole, tmp_path, asked):
    # twelve questions that matter: after each of 7 steps, in each of 3 validations, after the 2 that are not the end
    out = tmp_path / "run"
    prepared = runs.prepare(out, OPTIONS)
    if asked < 12:
        with pytest.raises(runs.Interrupted) as stopped:
            runs.execute(prepared, stop=stopping_after(asked))
        assert runs.reopen(out, {}).tally.step == stopped.value.step > 0
    else:
        runs.execute(prepared, stop=stopping_after(asked))
    runs.execute(runs.reopen(out, {}))
    assert all(same_files(whole, out).values())


def test_a_run_stopped_again_and_again_equals_one_that_was_not(whole, tmp_path):
    out = tmp_path / "run"
    prepared = runs.prepare(out, OPTIONS)
    for _ in range(20):
        try:
            runs.execute(prepared, stop=stopping_after(1))
            break
        except runs.Interrupted:
            prepared = runs.reopen(out, {"method": "egnn"})
    else:
        pytest.fail("the run makes no headway")
    assert all(same_files(whole, out).values())
    assert len(json.loads((out / "timing.json").read_text())["sessions"]) > 2


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"[" * 100_000, b'{"sessions": [1, {}]}', b"[]"])
def test_a_damaged_timing_stops_no_run(whole, tmp_path, damage):
    out = tmp_path / "run"
    with pytest.raises(runs.Interrupted):
        runs.execute(runs.prepare(out, OPTIONS), stop=stopping_after(2))
    (out / "timing.json").write_bytes(damage)
    runs.execute(runs.reopen(out, {}))
    assert all(same_files(whole, out).values())
    assert len(json.loads((out / "timing.json").read_text())["sessions"]) == 1


@pytest.mark.parametrize("save_every", [1, 2, 5, 100])
def test_a_run_killed_between_saves_goes_on_from_the_last_one(whole, tmp_path, save_every):
    out = tmp_path / "run"

    def crash(moment):
        if moment.tally.step == 6 and moment.step:
            raise MemoryError

    with pytest.raises(MemoryError):
        runs.execute(runs.prepare(out, {**OPTIONS, "save_every": save_every}), watch=crash)
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    prepared = runs.reopen(out, {})
    assert prepared.tally.step == {1: 5, 2: 4, 5: 5, 100: 0}[save_every]
    runs.execute(prepared)
    assert all(same_files(whole, out).values())


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_resumes(tmp_path, name):
    loss = {} if METHODS[name].loss else {"loss": "node"}
    options = {**OPTIONS, "method": name, "arguments": {}, "steps": 2, "query": "1", **loss}
    with pytest.raises(runs.Interrupted):
        runs.execute(runs.prepare(tmp_path / "run", options), stop=stopping_after(0))
    runs.execute(runs.reopen(tmp_path / "run", {}))
    runs.execute(runs.prepare(tmp_path / "whole", options))
    assert all(same_files(tmp_path / "run", tmp_path / "whole").values())


def test_a_finished_run_is_left_as_it_is(whole, tmp_path):
    out = copied(whole, tmp_path / "run")
    before = {
        name: (out / name).stat().st_mtime_ns for name in ("best.safetensors", "last.safetensors")
    }
    prepared = runs.reopen(out, {})
    assert runs.finished(prepared.tally, prepared.config.schedule)
    assert runs.execute(prepared) == prepared.tally
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert all(same_files(whole, out).values())


def test_resuming_with_other_options_is_refused(whole):
    with pytest.raises(
        ValueError, match=r"steps is 7 there and 9 here; batch is 2 there and 3 here"
    ):
        runs.reopen(whole, {"steps": 9, "batch": 3, "seed": 0})


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"\xff" * len(data),
        lambda data: data[:-1],
    ],
)
def test_a_damaged_last_checkpoint_is_refused_and_nothing_is_touched(whole, tmp_path, damage):
    copied(whole, tmp_path)
    (tmp_path / "last.safetensors").write_bytes(damage((whole / "last.safetensors").read_bytes()))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"last\.safetensors is corrupt or cut short"):
        runs.reopen(tmp_path, {})
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
def test_a_run_whose_files_are_not_its_own_is_refused(whole, tmp_path, name, content, message):
    copied(whole, tmp_path)
    if content is None:
        save_file({"a": torch.zeros(1)}, tmp_path / name)
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        runs.reopen(tmp_path, {})


def test_another_models_checkpoint_as_last_is_refused(whole, tmp_path):
    runs.execute(runs.prepare(tmp_path / "run", {**OPTIONS, "encoder_arguments": {"width": 5}}))
    (tmp_path / "run" / "last.safetensors").write_bytes((whole / "last.safetensors").read_bytes())
    with pytest.raises(ValueError, match="is of another model"):
        runs.reopen(tmp_path / "run", {})


def test_the_folder_may_move_and_data_and_device_may_lie_elsewhere(whole, tmp_path):
    assert runs.reopen(copied(whole, tmp_path / "moved"), {"device": "cpu"}).tally.step == 7


def test_what_changed_since_the_run_began_is_noted(whole, tmp_path):
    out = copied(whole, tmp_path / "run")
    assert runs.reopen(out, {}).notes == ()
    config = json.loads((out / "config.json").read_text())
    config["versions"]["torch"] = "0.4"
    (out / "config.json").write_text(json.dumps(config))
    assert runs.reopen(out, {}).notes == (f"torch was 0.4 and is {torch.__version__}",)


@pytest.mark.parametrize("content", ["file", "hidden", "folder"])
def test_a_new_run_leaves_a_folder_alone_that_is_not_empty(tmp_path, content):
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


def test_an_empty_folder_will_do(tmp_path):
    runs.prepare(tmp_path, OPTIONS)
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_resuming_where_there_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        runs.reopen(tmp_path / "none", {})
