"""The command line: what it prints and writes; each error is one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_training import SMALL_EGNN
from typer.testing import CliRunner

import graphfew as gf
from graphfew.cli import app
from graphfew.methods.registry import METHODS
from graphfew.runs import training_options

TRAIN = [*SMALL_EGNN, *("--set", "p=0.3", "--validate-every", "4")]
EVALUATE = [
    "--data",
    "digits",
    "--split",
    "all",
    "--way",
    "3",
    "--tasks",
    "6",
    "--allow-seen-classes",
]
SAME = ("metrics.jsonl", "best.safetensors", "last.safetensors")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def call(unchecked):
    """Run a command; return exit code, standard output and standard error."""

    def run(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs of eight steps."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in "01":
        result = CliRunner().invoke(
            app, [*TRAIN, "--steps", "8", "--seed", seed, "--out", str(folder / seed)]
        )
        assert result.exit_code == 0, result.output
    return folder


def assert_error(outcome, *words):
    """One line on standard error, exit code 2, nothing else."""
    code, _, err = outcome
    assert (code, err.count("\n")) == (2, 1), err
    assert err.startswith("error: ")
    assert [word for word in words if word not in err] == [], err


def test_version(call):
    assert call("--version") == (0, f"graphfew {gf.__version__}\n", "")


def test_module_entry_point():
    run = subprocess.run(
        [sys.executable, "-m", "graphfew", "--version"], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == f"graphfew {gf.__version__}"


@pytest.mark.parametrize(
    "command", ["train", "evaluate", "label", "suggest", "methods", "data", "demo"]
)
def test_unknown_options_are_rejected(call, command):
    code, _, err = call(command, "--nonsense")
    assert code == 2
    assert "No such option" in err


def test_methods_lists_every_method_and_its_paper(call):
    code, out, _ = call("methods")
    assert code == 0
    for name, method in METHODS.items():
        (row,) = [line for line in out.splitlines() if f" {name} " in line]
        assert method.paper in row
        modes, _, way, shot = [cell.strip() for cell in row.split("│")][3:7]
        assert ("transductive" in modes, "inductive" in modes.split(", ")) == (
            method.transductive,
            method.inductive,
        )
        assert (way, shot) == tuple(
            "fixed" if fixed else "any" for fixed in (method.fixed_way, method.fixed_shot)
        )


def test_data_lists_every_data_set_without_downloads(call, tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHFEW_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GRAPHFEW_DATA", raising=False)
    code, out, _ = call("data")
    assert code == 0
    assert all(name in out for name in gf.data.DATASETS)
    assert "not found" in out
    assert not (tmp_path / "cache").exists()
    monkeypatch.setenv("GRAPHFEW_DATA", str(tmp_path))
    for file in (
        "omniglot/images_background.zip",
        "fewrel/val_wiki.json",
        "cifar100/cifar100.zip",
        "cifar100/cifarfs_features.npz",
        "clinc150/minilm_embeddings.npz",
        "mini_imagenet/train.csv",
        "tiered_imagenet/val_labels.pkl",
        "cub/CUB_200_2011/images/001.A/a.jpg",
        "class_folders/a/b.png",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    assert "not found" not in call("data")[1]


@pytest.mark.parametrize(
    "name",
    [
        "omniglot",
        "glyphs",
        "fewrel",
        "cifar_fs",
        "fc100",
        "cifar_fs_features",
        "clinc150",
        "mini_imagenet",
        "tiered_imagenet",
        "cub",
    ],
)
def test_data_lists_all_splits(call, name):
    with pytest.raises(ValueError, match="known: ") as error:
        gf.data.load(name, split="?")
    splits = str(error.value).split("known: ")[1].split(", ")
    words = call("data")[1].replace("│", " ").replace(",", " ").split()
    assert set(splits) <= set(words)


def test_training_prints_a_line_per_validation_without_a_terminal(call, trained, tmp_path):
    code, out, err = call(*TRAIN, "--steps", 8, "--out", tmp_path / "run")
    assert (code, err) == (0, "")
    assert [line.split("  ")[0] for line in out.splitlines()[:-1]] == ["step 4/8", "step 8/8"]
    assert out.splitlines()[-1].startswith("Done: best validation accuracy")
    for name in SAME:
        assert (tmp_path / "run" / name).read_bytes() == (trained / "0" / name).read_bytes()


def test_finished_run_has_nothing_to_do(call, trained):
    code, out, _ = call("train", "--resume", "--out", trained / "0")
    assert code == 0
    assert "Nothing to do" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "foo", "--data", "digits"], ["'foo'", *METHODS]),
        (["train", "egnn", "--data", "foo"], ["'foo'", *gf.data.DATASETS]),
        (["train", "egnn", "--data", "glyphs", "--split", "foo"], ["'foo'", "train, val, test"]),
        (
            ["train", "egnn", "--data", "digits", "--split", "all", "--encoder", "foo"],
            [*gf.backbones.BACKBONES],
        ),
        (
            ["train", "egnn", "--data", "omniglot", "--validate", "test"],
            ["selected on the test split"],
        ),
        (
            ["train", "egnn", "--data", "omniglot", "--validate", "evaluation"],
            ["selected on the test split"],
        ),
        (
            ["train", "egnn", "--data", "omniglot", "--root", "nowhere"],
            ["nowhere has no images_background.zip"],
        ),
        (["train", "egnn", "--data", "digits", "--set", "layers"], ["key=value"]),
        (["train", "--data", "digits"], ["method not given"]),
        (["train", "--resume"], ["holds no run"]),
    ],
)
def test_train_errors(call, tmp_path, arguments, words):
    assert_error(call(*arguments, "--out", tmp_path / "run"), *words)
    assert not (tmp_path / "run").exists()


def test_existing_run_raises_and_is_unchanged(call, trained):
    before = {file: file.stat().st_mtime_ns for file in (trained / "0").iterdir()}
    assert_error(call(*TRAIN, "--out", trained / "0"), "not empty", "--resume")
    assert_error(
        call("train", "--resume", "--steps", 9, "--out", trained / "0"),
        "steps is 8 there and 9 here",
    )
    assert {file: file.stat().st_mtime_ns for file in (trained / "0").iterdir()} == before


@pytest.mark.parametrize(
    ("before", "given", "expected"),
    [("cuda:0", [], "cuda"), ("cpu", [], "cpu"), ("cuda:1", ["--device", "cpu"], "cpu")],
)
def test_several_processes_resume_on_the_device_of_the_run(
    call, trained, tmp_path, monkeypatch, before, given, expected
):
    config = json.loads((trained / "0" / "config.json").read_text())
    config["arguments"]["device"] = before
    (tmp_path / "config.json").write_text(json.dumps(config))
    launches = []

    def launch(*arguments):
        launches.append(arguments)
        raise ValueError("no such machine")

    monkeypatch.setattr(sys.modules["graphfew.cli.train"], "launch", launch)
    assert_error(
        call("train", "--resume", "--processes", 2, "--nodes", 3, *given, "--out", tmp_path),
        "no such machine",
    )
    assert launches == [(2, expected, 3)]


@pytest.mark.parametrize(
    ("processes", "nodes", "more"),
    [
        (1, 1, ""),
        (2, 1, " --processes 2"),
        (4, 2, " --processes 4 --nodes 2"),
        (1, 2, " --nodes 2"),
    ],
)
def test_resume_command_has_as_many_processes(processes, nodes, more):
    resume_command = sys.modules["graphfew.cli.train"]._resume_command
    assert (
        resume_command(Path("runs/a"), processes, nodes)
        == f"graphfew train --resume --out runs/a{more}"
    )


def test_truncated_last_checkpoint_raises(call, trained, tmp_path):
    for file in (trained / "0").iterdir():
        (tmp_path / file.name).write_bytes(
            file.read_bytes()[: 1000 if file.name == "last.safetensors" else None]
        )
    assert_error(
        call("train", "--resume", "--out", tmp_path), "last.safetensors is corrupt or cut short"
    )


def test_evaluate_compares_on_the_same_tasks_and_writes_the_report(
    call, trained, tmp_path, monkeypatch
):
    arguments = [
        "evaluate",
        str(trained / "0"),
        str(trained / "1" / "last.safetensors"),
        *EVALUATE,
        "--query",
        "2",
        "--query",
        "single",
        "--out",
        str(tmp_path / "new" / "results.json"),
    ]
    monkeypatch.setattr(sys, "argv", ["graphfew", *arguments])
    code, out, _ = call(*arguments)
    assert code == 0
    report = json.loads((tmp_path / "new" / "results.json").read_text())
    assert [r["checkpoint"] for r in report["results"]] == [
        "0/best.safetensors",
        "1/last.safetensors",
    ] * 2
    assert [r["decisions"] for r in report["results"]] == [36, 36, 6, 6]
    for result in report["results"]:
        assert f"{100 * result['mean']:.2f} ± {100 * result['half_width']:.2f}" in out
    assert report["comparisons"][0]["difference"] == pytest.approx(
        report["results"][1]["mean"] - report["results"][0]["mean"]
    )
    assert str(trained) not in (tmp_path / "new" / "results.json").read_text()
    assert report["command"].startswith("graphfew evaluate ")


def test_evaluate_in_the_other_mode(call, trained, tmp_path):
    code, out, _ = call(
        "evaluate", trained / "0", *EVALUATE, "--inductive", "--out", tmp_path / "r.json"
    )
    assert code == 0
    assert " inductive " in out
    (result,) = json.loads((tmp_path / "r.json").read_text())["results"]
    assert (result["mode"], result["model"]["trained_mode"]) == ("inductive", "transductive")


def test_evaluate_on_training_classes_needs_a_flag(call, trained):
    arguments = [argument for argument in EVALUATE if argument != "--allow-seen-classes"]
    assert_error(
        call("evaluate", trained / "0", *arguments),
        "0/best.safetensors was trained on digits/all",
        "--allow-seen-classes",
    )


def test_training_without_bfloat16_support_prints_a_note(call, tmp_path, monkeypatch):
    monkeypatch.setattr("graphfew.runs.build.supports_bfloat16", lambda device: False)
    code, _, err = call(*TRAIN, "--steps", 4, "--precision", "bfloat16", "--out", tmp_path / "run")
    assert code == 0
    assert err.startswith("note: cpu has no bfloat16 hardware support")
    assert "training uses float32" in err


def test_each_training_option_has_a_flag(call):
    _, out, _ = call("train", "--help")
    for name, option in training_options().items():
        if name != "method":
            assert all(flag in out for flag in option.flag.split("/"))


def test_evaluate_errors(call, trained, tmp_path):
    call(
        "train",
        "prototypical",
        *TRAIN[2:12],
        "--steps",
        0,
        "--validate-tasks",
        2,
        "--validate-way",
        3,
        "--out",
        tmp_path / "p",
    )
    assert_error(call("evaluate", tmp_path / "none", *EVALUATE), "there is no checkpoint")
    assert_error(call("evaluate", tmp_path, *EVALUATE), "there is no checkpoint")
    assert_error(
        call("evaluate", trained / "0" / "config.json", *EVALUATE), "there is no checkpoint"
    )
    (tmp_path / "cut.safetensors").write_bytes(
        (trained / "0" / "best.safetensors").read_bytes()[:-9]
    )
    assert_error(call("evaluate", tmp_path / "cut", *EVALUATE), "is corrupt or cut short")
    assert_error(
        call("evaluate", tmp_path / "p", *EVALUATE, "--transductive"),
        "prototypical is inductive only",
    )
    assert_error(call("evaluate", tmp_path / "p", *EVALUATE, "--unlabeled", 1), "cannot use them")
    assert_error(call("evaluate", trained / "0", "--data", "digits"), "digits has no split 'test'")
    assert_error(call("evaluate", trained / "0", *EVALUATE, "--query", "foo"), "known forms")
    assert_error(call("evaluate", trained / "0", *EVALUATE, "--out", tmp_path), "is a folder")


@pytest.mark.parametrize("option", ["--processes", "--nodes"])
def test_numbers_of_processes_below_one_are_rejected(call, tmp_path, option):
    outcome = call("train", "egnn", "--data", "glyphs", "--out", tmp_path / "run", option, "0")
    assert_error(outcome, f"{option[2:]} is 0; it must be at least 1")
    assert not (tmp_path / "run").exists()


def test_an_unwritable_target_is_reported_before_the_evaluation(call, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("a checkpoint was read")

    monkeypatch.setattr("graphfew.serialization.checkpoint.load", fail)
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "results.json"
    outcome = call("evaluate", "egnn-omniglot", "--data", "glyphs", "--out", out)
    assert_error(outcome, f"{out} cannot be written", "give a writable path")


@pytest.mark.parametrize("option", ["way", "shot"])
def test_ranges_in_errors_are_written_as_on_the_command_line(call, option):
    outcome = call("evaluate", "egnn-omniglot", "--data", "glyphs", f"--{option}", "0")
    assert_error(outcome, f"{option} is 0; it must be at least")
