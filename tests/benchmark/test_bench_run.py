"""Running specs: what is done stays, what was cut goes on exactly, and faults come before any work."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_specs import (
    CELLS,
    DRAW,
    HEAD,
    ROWS,
    SMALL,
    TRAIN,
    RecordingDisplay,
    records,
    run_spec,
    spec,
    timeless,
    written,
)

import graphfew as gf
from graphfew.benchmark import (
    BenchmarkStopped,
    RunOptions,
    append_record,
    list_experiments,
    load_spec,
    model_loading,
    read_records,
    run_benchmarks,
)
from graphfew.benchmark.lock import results_lock
from graphfew.data import DATASETS

WEIGHTS = ("best.safetensors", "last.safetensors", "metrics.jsonl")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder in which the spec ran without interruption; not to be written to."""
    folder = tmp_path_factory.mktemp("whole")
    run_spec(folder)
    return folder


@pytest.fixture
def copied(whole, tmp_path):
    """A folder like it, to be written to."""
    subprocess.run(["cp", "-r", f"{whole / 'out'}", str(tmp_path)], check=True)
    return tmp_path


def weights(folder, seed=0, name="proto"):
    place = folder / "out" / "runs" / "small" / f"{name}-seed{seed}"
    return {file: (place / file).read_bytes() for file in WEIGHTS}


def test_every_cell_has_one_record_with_all_that_it_hangs_on(whole):
    found, faults = read_records(whole / "out" / "small.jsonl")
    assert faults == ()
    wanted = list_experiments(spec(whole))
    assert [record.key for record in found] == [cell.key for cell in wanted]
    assert [record.seed for record in found] == [0, 0, 1, 1, 0, 0, 1, 1]
    record = found[-1]
    assert (record.benchmark, record.row, record.assumes, record.command) == (
        "small",
        "propagation",
        "nothing",
        "",
    )
    assert str(record.result.mode) == "transductive"
    assert record.result.model["input"] == [1, 28, 28]
    assert record.result.model["selected_on"] == "glyphs/val"
    assert record.n_queries == 4 * 5 * 2
    assert len(record.result.per_task) == 4
    (trained,) = record.training
    assert (
        trained["method"],
        trained["seed"],
        trained["steps"],
        trained["tasks"],
        trained["timed_steps"],
        trained["device"],
    ) == ("prototypical", 1, 4, 8, 4, "cpu")
    assert trained["seconds"] > 0
    assert {"python", "torch", "torch_geometric", "torch_scatter", "threads"} <= set(
        record.versions
    )
    assert record.machine
    assert record.seconds > 0
    if sys.platform == "linux":
        assert record.peak_memory > 10**7


def test_features_give_what_images_give(whole):
    found, _ = read_records(whole / "out" / "small.jsonl")
    model = gf.load(whole / "out" / "runs" / "small" / "proto-seed1" / "best")
    tasks = gf.Tasks(gf.data.glyphs("test"), way=5, query=2)
    assert gf.evaluate(model, tasks, n=4).per_task == found[3].result.per_task
    again = gf.create("label_propagation", encoder=model.encoder, transductive=False)
    assert gf.evaluate(again, tasks, n=4).per_task == found[6].result.per_task


def test_the_same_again_gives_the_same(whole, tmp_path):
    run_spec(tmp_path)
    assert records(tmp_path / "out") == records(whole / "out")
    assert weights(tmp_path) == weights(whole)


def test_what_is_finished_is_skipped(copied):
    before = (copied / "out" / "small.jsonl").read_bytes()
    display = run_spec(copied)
    assert display.messages == [
        f"small: 0 trainings and 0 experiments to do, {CELLS} experiments done"
    ]
    assert (copied / "out" / "small.jsonl").read_bytes() == before


def test_a_corrupt_line_is_told_and_its_cell_runs_again(whole, copied):
    path = copied / "out" / "small.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], lines[2][:50] + "\n", *lines[3:]]))
    display = run_spec(copied)
    assert len(display.done()) == 1
    (warning,) = display.warnings
    assert f"{path}, line 3: " in warning
    found, faults = read_records(path)
    assert [fault.line for fault in faults] == [3]
    assert sorted(map(timeless, found), key=lambda r: r.key) == sorted(
        records(whole / "out"), key=lambda r: r.key
    )


def test_a_line_cut_short_is_no_hindrance(whole, copied):
    path = copied / "out" / "small.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    assert len(run_spec(copied).done()) == 1
    assert len(run_spec(copied).done()) == 0
    assert {record.key for record in read_records(path)[0]} == {
        record.key for record in records(whole / "out")
    }


def test_a_new_row_runs_alone(copied):
    display = run_spec(
        copied, SMALL + '\n[[row]]\nmethod = "pt_map"\nencoder_from = "proto"\nonly = { way = 3 }\n'
    )
    assert [line.split(":")[1] for line in display.done()] == [" pt_map, seed 0", " pt_map, seed 1"]
    assert not [line for line in display.messages if line.startswith("training")]


def test_views_are_averaged_and_told(copied):
    row = '\n[[row]]\nname = "{1}"\n{0}\nviews = 3\nonly = {{ way = 3 }}\n'
    rows = row.format('train = "proto"', "seen") + row.format(
        'method = "pt_map"\nencoder_from = "proto"', "map seen"
    )
    display = run_spec(copied, SMALL + rows)
    assert len(display.done()) == 4
    found = [record for record in records(copied / "out") if record.row.endswith("seen")]
    model = gf.load(copied / "out" / "runs" / "small" / "proto-seed0" / "best")
    encoder = gf.backbones.affine_tta(model.encoder, 3)
    tasks = gf.Tasks(gf.data.glyphs("test"), way=3, query=2)
    for record, name in ((found[0], "prototypical"), (found[2], "pt_map")):
        expected = gf.evaluate(gf.create(name, encoder=encoder), tasks, n=4)
        assert record.result.per_task == expected.per_task
        assert record.result.model["encoder"]["name"] == "affine_tta"
        assert record.result.model["encoder"]["arguments"]["copies"] == 3
        assert record.result.model["selected_on"] == "glyphs/val"


def test_features_of_other_copies_are_others(copied):
    rows = "".join(
        f'\n[[row]]\nname = "{name}"\ntrain = "proto"\n{keys}\nonly = {{ way = 3 }}\n'
        for name, keys in {
            "two": "views = 2",
            "five": "views = 5",
            "mirrored": "mirror = 1",
            "moved": "mirror = 3",
        }.items()
    )
    run_spec(copied, SMALL + rows)
    tasks = gf.Tasks(gf.data.glyphs("test"), way=3, query=2)
    encoder = gf.load(copied / "out" / "runs" / "small" / "proto-seed0" / "best").encoder
    changed = {
        "two": gf.backbones.affine_tta(encoder, 2),
        "five": gf.backbones.affine_tta(encoder, 5),
        "mirrored": gf.backbones.flip_tta(encoder, 1),
        "moved": gf.backbones.flip_tta(encoder, 3),
    }
    found = {
        record.row: record.result.per_task for record in records(copied / "out") if record.seed == 0
    }
    for name, own in changed.items():
        assert (
            found[name] == gf.evaluate(gf.create("prototypical", encoder=own), tasks, n=4).per_task
        )
    assert len({found[name] for name in changed}) > 1


def test_mirrors_are_averaged_and_told(copied):
    run_spec(
        copied,
        SMALL + '\n[[row]]\nname = "seen"\ntrain = "proto"\nmirror = 1\nonly = { way = 3 }\n',
    )
    record = next(record for record in records(copied / "out") if record.row == "seen")
    model = gf.load(copied / "out" / "runs" / "small" / "proto-seed0" / "best")
    expected = gf.evaluate(
        gf.create("prototypical", encoder=gf.backbones.flip_tta(model.encoder, 1)),
        gf.Tasks(gf.data.glyphs("test"), way=3, query=2),
        n=4,
    )
    assert record.result.per_task == expected.per_task
    assert record.result.model["encoder"]["name"] == "flip_tta"


def test_encoders_of_several_trainings_and_seeds_stand_together(copied):
    display = run_spec(
        copied,
        SMALL
        + """
[[row]]
name = "ensemble"
method = "prototypical"
encoders_from = ["proto"]
views = 2
only = { way = 3 }
""",
    )
    record, *rest = (record for record in records(copied / "out") if record.row == "ensemble")
    assert rest == []
    assert record.seed is None
    assert [part["seed"] for part in record.training] == [0, 1]
    runs = copied / "out" / "runs" / "small"
    encoders = [gf.load(runs / f"proto-seed{seed}" / "best").encoder for seed in (0, 1)]
    model = gf.create(
        "prototypical", encoder=gf.backbones.affine_tta(gf.backbones.concat(encoders), 2)
    )
    expected = gf.evaluate(model, gf.Tasks(gf.data.glyphs("test"), way=3, query=2), n=4)
    assert record.result.per_task == expected.per_task
    assert [origin["checkpoint"] for origin in record.result.model["init_encoder"]] == [
        "proto-seed0/best.safetensors",
        "proto-seed1/best.safetensors",
    ]
    assert len(display.done()) == 1


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            'encoders_from = ["proto", "photo"]',
            "encoders_from: no training is called 'photo'",
        ),
        ("encoders_from = []", "encoders_from: .* at least 1 item"),
        (
            'encoders_from = "proto"\nencoder_from = "proto"',
            "either encoder_from, one training, or encoders_from",
        ),
    ],
)
def test_what_stands_together_is_checked(tmp_path, keys, message):
    with pytest.raises(ValueError, match=message):
        spec(tmp_path, f'{SMALL}\n[[row]]\nname = "ensemble"\nmethod = "prototypical"\n{keys}\n')


def test_a_method_without_features_has_no_views(tmp_path):
    train = (
        TRAIN.replace('"prototypical"', '"tadam"')
        .replace("seeds = [0, 1]", "seeds = 3")
        .replace("proto", "tadam")
    )
    with pytest.raises(ValueError, match="tadam has no image features"):
        run_spec(tmp_path, HEAD + train + DRAW + '[[row]]\ntrain = "tadam"\nviews = 2\n')
    assert not (tmp_path / "out" / "runs").exists()


def test_a_new_seed_trains_alone(copied):
    display = run_spec(copied, SMALL.replace("seeds = [0, 1]", "seeds = [0, 1, 2]"))
    assert len(display.done()) == CELLS // 2
    assert [line.split(":")[0] for line in display.messages if line.startswith("training")] == [
        "training proto, seed 2"
    ]


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_a_training_that_was_stopped_goes_on_exactly(whole, tmp_path, steps):
    display = RecordingDisplay()
    with pytest.raises(BenchmarkStopped, match=r"stopped after step \d of 4 of proto, seed [01]"):
        run_spec(tmp_path, display=display, stop=lambda: len(display.steps) >= steps)
    assert not (tmp_path / "out" / "small.jsonl").exists()
    run_spec(tmp_path)
    assert weights(tmp_path) == weights(whole)
    assert weights(tmp_path, 1) == weights(whole, 1)
    assert records(tmp_path / "out") == records(whole / "out")


def test_an_evaluation_that_was_stopped_keeps_its_cells_and_goes_on(whole, tmp_path):
    display = RecordingDisplay()
    with pytest.raises(BenchmarkStopped, match="stopped after 3 of 8 experiments of small"):
        run_spec(tmp_path, display=display, stop=lambda: len(display.done()) >= 3)
    assert records(tmp_path / "out") == records(whole / "out")[:3]
    assert len(run_spec(tmp_path).done()) == CELLS - 3
    assert records(tmp_path / "out") == records(whole / "out")


def test_an_evaluation_stops_between_batches_of_tasks(copied):
    (copied / "out" / "small.jsonl").unlink()
    asked = []
    with pytest.raises(BenchmarkStopped, match="stopped after 0 of 8 experiments"):
        run_spec(copied, stop=lambda: len(asked) > 1 or bool(asked.append(1)))
    assert not (copied / "out" / "small.jsonl").exists()


KILLED = """
import os, signal, sys
import torch
from pathlib import Path
from graphfew.benchmark import RunOptions, load_spec
bench = sys.modules["graphfew.benchmark.run_benchmark"]
sys.path.insert(0, {tests!r})
from small_specs import RecordingDisplay
torch.set_num_threads(1)
display, write = RecordingDisplay(), bench.append_record
def kill(*ignored):
    os.kill(os.getpid(), signal.SIGKILL)
def append(path, record):
    write(path, record)
    kill()
if {cells}:
    bench.append_record = append
bench.run_benchmarks([load_spec(Path({spec!r}))], RunOptions(Path({out!r})), display.progress_display(),
          lambda: not {cells} and len(display.steps) >= 4 and kill())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("done", [True, False], ids=["after its first cell", "in its training"])
def test_a_killed_run_goes_on_as_if_it_had_not_been(whole, tmp_path, done):
    path = written(tmp_path)
    code = KILLED.format(
        tests=os.path.dirname(os.path.dirname(__file__)),
        spec=str(path),
        out=str(tmp_path / "out"),
        cells=done,
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert len(read_records(tmp_path / "out" / "small.jsonl")[0]) == (1 if done else 0)
    display = run_spec(tmp_path)
    assert len(display.done()) == CELLS - (1 if done else 0)
    if not done:
        assert "training proto, seed 0: 3 of 4 steps done" in "\n".join(display.messages)
    assert weights(tmp_path) == weights(whole)
    assert records(tmp_path / "out") == records(whole / "out")


def test_two_at_once_are_refused(tmp_path):
    path = tmp_path / "out" / "small.jsonl"
    with (
        results_lock(path),
        pytest.raises(
            ValueError, match=rf"another process \({os.getpid()}\) is writing .*small.jsonl"
        ),
    ):
        run_spec(tmp_path)
    assert not (tmp_path / "out" / "runs").exists()


def test_the_lock_of_a_process_that_is_gone_is_none(tmp_path):
    path = tmp_path / "small.jsonl"
    (tmp_path / ".small.jsonl.lock").write_text("999999")
    with results_lock(path):
        pass
    assert not list(tmp_path.glob("*.pid"))


def test_a_run_of_another_training_is_told_and_left_alone(copied):
    before = weights(copied)
    with pytest.raises(
        ValueError,
        match=r"small.toml: train\[0\]: .*proto-seed0 holds another "
        r"run: steps is 4 there and 6 in the spec; move that folder away",
    ):
        run_spec(copied, SMALL.replace("steps = 4", "steps = 6"))
    with pytest.raises(ValueError, match=r"lr is 0\.001 there and 0\.01 in the spec"):
        run_spec(copied, SMALL.replace("steps = 4", "steps = 4\nlr = 0.01"))
    assert weights(copied) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("way = [3, 5]", "way = [5, 500]", r"way is 500 but .* has 101 classes"),
        ("query = 2", "query = 25", r"a task needs up to 26 of a class"),
        ("steps = 4", "steps = 4\nway = 500", r"way is 500 but .* has 467 classes"),
        ("steps = 4", "steps = 4\nvalidate_shot = 30", r"a task needs up to"),
        (
            'encoder_from = "proto"\n',
            "",
            r"label_propagation needs features, but glyphs has items of shape \[1, 28, 28\]; set encoder_from",
        ),
        (
            'name = "glyphs"',
            'name = "glyphs"\ntest = "tset"',
            r"glyphs/tset cannot be read: glyphs has no split 'tset'",
        ),
        ('name = "glyphs"', 'name = "glyphs"\ntrain = "tarin"', r"glyphs has no split 'tarin'"),
        ("width = 4", "width = 4, size = 32", r"conv4 got items of shape \(1, 28, 28\)"),
    ],
)
def test_what_data_refuse_is_told_before_any_training(tmp_path, old, new, message):
    good, bad = (
        spec(tmp_path / "good"),
        spec(tmp_path / "bad", SMALL.replace(old, new, 1).replace("small", "bad")),
    )
    with pytest.raises(ValueError, match=rf"small.toml: .*{message}") as caught:
        run_benchmarks(
            [good, bad], RunOptions(tmp_path / "out"), RecordingDisplay().progress_display()
        )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "runs").exists()


def test_data_that_are_not_there_are_one_line(tmp_path, monkeypatch):
    monkeypatch.delenv("GRAPHFEW_DATA", raising=False)
    text = HEAD.replace('"glyphs"', '"fewrel"') + DRAW + '[[row]]\nmethod = "label_propagation"\n'
    with pytest.raises(
        ValueError,
        match=r"small.toml: data.name: fewrel/test cannot be read: GRAPHFEW_DATA is not set",
    ):
        run_spec(tmp_path, text)
    with pytest.raises(
        ValueError, match=r"data.name: fewrel/test cannot be read: there is no .*val_wiki.json"
    ):
        run_spec(tmp_path, text, roots={"fewrel": str(tmp_path)})


def test_a_spec_without_its_data_is_left_out_where_the_rest_is_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHFEW_DATA", str(tmp_path / "nothing"))
    absent = HEAD.replace("small", "absent").replace("glyphs", "mini_imagenet") + DRAW
    absent = written(tmp_path, absent + TRAIN + '[[row]]\ntrain = "proto"\n', "absent.toml")
    specs = [load_spec(absent), spec(tmp_path)]
    with pytest.raises(ValueError, match="mini_imagenet/test cannot be read"):
        run_benchmarks(specs, RunOptions(tmp_path / "out"), RecordingDisplay().progress_display())
    assert not (tmp_path / "out" / "small.jsonl").exists()
    display = RecordingDisplay()
    assert (
        run_benchmarks(
            specs, RunOptions(tmp_path / "out", keep_going=True), display.progress_display()
        )
        == 1
    )
    assert len(records(tmp_path / "out")) == CELLS
    assert "absent is skipped" in display.warnings[0]
    assert "mini_imagenet/test cannot be read" in display.warnings[0]


def test_what_fails_is_told_and_the_rest_goes_on(tmp_path):
    wild = TRAIN.replace('"proto"', '"wild"').replace("seeds = [0, 1]", "lr = 1e30")
    after = '\n[[train]]\nname = "after"\nmethod = "relation"\nencoder_arguments = { width = 4 }\ninit_from = "wild"\n'
    text = (
        HEAD
        + wild
        + after
        + TRAIN
        + DRAW
        + ROWS
        + '[[row]]\ntrain = "wild"\n[[row]]\ntrain = "after"\n'
    )
    display = RecordingDisplay()
    failed = run_benchmarks(
        [spec(tmp_path, text)],
        RunOptions(tmp_path / "out", keep_going=True),
        display.progress_display(),
    )
    assert failed == 2
    assert len(display.done()) == CELLS
    assert [warning for warning in display.warnings if "training wild, seed 0: " in warning], (
        display.warnings
    )
    assert (
        "training after, seed 0 is skipped: the training that it is initialized from, wild, seed 0, failed"
        in display.warnings
    )
    assert "small: 4 experiments are skipped, their training failed" in display.warnings
    with pytest.raises(FloatingPointError):
        run_spec(tmp_path, text)


def test_only_trainings_only_some_rows_and_fewer_tasks(tmp_path):
    assert run_spec(tmp_path, train_only=True).done() == []
    assert weights(tmp_path)
    assert len(run_spec(tmp_path, rows=("propagation",)).done()) == 4
    few = run_spec(tmp_path, max_tasks=3).done()
    assert len(few) == CELLS
    assert all("(3 tasks, " in line for line in few)
    assert len(run_spec(tmp_path).done()) == 4


CHAIN = (
    HEAD
    + TRAIN
    + """
[[train]]
name = "second"
method = "relation"
encoder_arguments = { width = 4 }
steps = 2
batch = 2
validate_tasks = 4
init_from = "proto"
freeze_encoder = true
seeds = 1
"""
    + DRAW
    + '[[row]]\ntrain = "second"\n'
)


def test_a_training_starts_from_the_best_of_another(tmp_path):
    run_spec(tmp_path, CHAIN)
    behind = [
        [(part["name"], part["seed"]) for part in record.training]
        for record in records(tmp_path / "out")
    ]
    assert behind == [[("proto", 1), ("second", 1)]] * 2
    first, second = (
        gf.load(tmp_path / "out" / "runs" / "small" / name / "best")
        for name in ("proto-seed1", "second-seed1")
    )
    for name, value in first.encoder.state_dict().items():
        assert torch.equal(value, second.encoder.state_dict()[name])
    assert not (tmp_path / "out" / "runs" / "small" / "proto-seed0").exists()
    (tmp_path / "out" / "small.jsonl").unlink()
    gf.save(second, tmp_path / "out" / "runs" / "small" / "proto-seed1" / "best")
    with pytest.raises(
        ValueError,
        match=r"second-seed1 was initialized from other weights than those in .*proto-seed1",
    ):
        run_spec(tmp_path, CHAIN)


def test_methods_on_features_of_their_own(tmp_path, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(6).repeat_interleave(12)
    data = gf.Dataset(
        "points",
        "all",
        torch.randn(72, 8, generator=generator) + 3 * torch.eye(8)[y],
        y,
        tuple("abcdef"),
    )
    monkeypatch.setitem(DATASETS, "points", lambda: data)
    text = HEAD.replace('name = "glyphs"', 'name = "points"\ntest = "all"') + DRAW
    text += (
        '[[row]]\nmethod = "bd_cspn"\narguments = { prior_strength = inf }\nassumes = "balanced"\n'
    )
    text += '[[row]]\nmethod = "prototypical"\n'
    run_spec(tmp_path, text)
    found = records(tmp_path / "out")
    assert [record.seed for record in found] == [None] * 4
    assert found[0].result.model["arguments"] == {"prior_strength": "inf"}
    assert found[0].assumes == "balanced"
    assert found[0].training == ()
    expected = gf.evaluate(
        gf.create("bd_cspn", encoder=gf.backbones.identity(8), prior_strength=float("inf")),
        gf.Tasks(data, way=3, query=2),
        n=4,
    )
    assert found[0].result.per_task == expected.per_task


def test_a_method_that_encodes_in_the_light_of_its_task_sees_the_images(tmp_path):
    train = (
        TRAIN.replace('"prototypical"', '"tadam"')
        .replace("seeds = [0, 1]", "seeds = 3")
        .replace("proto", "tadam")
    )
    run_spec(tmp_path, HEAD + train + DRAW + '[[row]]\ntrain = "tadam"\n')
    model = gf.load(tmp_path / "out" / "runs" / "small" / "tadam-seed3" / "best")
    expected = gf.evaluate(model, gf.Tasks(gf.data.glyphs("test"), way=3, query=2), n=4)
    assert records(tmp_path / "out")[0].result.per_task == expected.per_task


def test_tests_on_other_data_than_trained_on(tmp_path):
    text = SMALL.replace('name = "glyphs"', 'name = "glyphs"\ntest_name = "digits"\ntest = "all"')
    run_spec(tmp_path, text, rows=("proto",))
    assert {record.result.tasks["data"] for record in records(tmp_path / "out")} == {"digits"}
    assert {record.result.model["trained_on"] for record in records(tmp_path / "out")} == {
        "glyphs/train"
    }


def test_configurations_tell_no_place_of_this_computer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_benchmarks(
        [spec(tmp_path, CHAIN)], RunOptions(Path("out")), RecordingDisplay().progress_display()
    )
    config = json.loads((tmp_path / "out/runs/small/second-seed1/config.json").read_text())[
        "arguments"
    ]
    assert config["init_encoder"] == "out/runs/small/proto-seed1/best.safetensors"
    assert str(tmp_path) not in (tmp_path / "out" / "small.jsonl").read_text()


def test_records_are_whole_lines(copied):
    record = records(copied / "out")[0]
    append_record(copied / "out" / "small.jsonl", dataclasses.replace(record, key="other"))
    assert records(copied / "out")[-1].key == "other"


@pytest.mark.parametrize("copies", [1, 3])
def test_features_side_by_side_are_made_of_those_of_each(monkeypatch, copies):
    """So that rows on one encoder, and on it and others, encode every image under it once."""
    first, second = gf.backbones.conv4(width=4, seed=1), gf.backbones.conv4(width=8, seed=2)
    both = gf.backbones.concat([first, second])
    viewed = (
        (lambda encoder: gf.backbones.affine_tta(encoder, copies))
        if copies > 1
        else (lambda encoder: encoder)
    )
    asked, made = [], model_loading.encode
    monkeypatch.setattr(
        model_loading,
        "encode",
        lambda *given, **how: (asked.append(given[1]), made(*given, **how))[1],
    )
    shelf = model_loading.FeatureCache(gf.data.glyphs(split="val"))
    alone, joined = (
        shelf.encode(gf.create("prototypical", encoder=viewed(net))) for net in (first, both)
    )
    assert [encoder.out_dim for encoder in asked] == [4, 8]
    whole = made(shelf.items, viewed(both), progress=False)
    assert torch.equal(joined.x[:, :4], alone.x)
    assert torch.allclose(joined.x, whole.x, rtol=0, atol=1e-6)
