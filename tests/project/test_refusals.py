"""Regression tests of fuzzing: hostile checkpoints, specs, records, run folders and tensors."""

import json
import time

import pytest
import torch
from bench_records import made
from safetensors import safe_open
from safetensors.torch import save_file
from small_specs import SMALL, spec

import graphfew as gf
from graphfew.benchmark import read_published_results, read_records
from graphfew.runs import RunDir
from graphfew.runs.config import TrainConfig
from graphfew.runs.factory import build_model
from graphfew.runs.option_catalog import read_options
from graphfew.runs.run_dir import parse_progress, read_config, truncate_metrics

DEEP = "[" * 200_000


def plain(width=6):
    return gf.create("egnn", encoder=gf.backbones.identity(4), layers=1, width=width)


def rewritten(path, change):
    """Rewrite the file with a changed header."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata()["graphfew"]
        names = list(file.keys())
        tensors = {name: file.get_tensor(name) for name in names}
    save_file(tensors, path, metadata={"graphfew": change(header)})


@pytest.mark.parametrize(("part", "size"), [("width", 20_000), ("layers", 10**9), ("dim", 10**8)])
def test_spec_larger_than_the_file_is_refused_immediately(tmp_path, part, size):
    path = gf.save(plain(), tmp_path / "m")
    old = {"width": '"width": 6', "layers": '"layers": 1', "dim": '"dim": 4'}[part]
    rewritten(path, lambda header: header.replace(old, f'"{part}": {size}'))
    began = time.process_time()
    with pytest.raises(
        ValueError, match=r"m\.safetensors has a model spec that this graphfew cannot build"
    ):
        gf.load(path)
    assert time.process_time() - began < 10


@pytest.mark.parametrize("header", [DEEP, '{"format": ' + "9" * 5000 + "}"])
def test_header_with_unparsable_json_is_refused(tmp_path, header):
    path = gf.save(plain(), tmp_path / "m")
    rewritten(path, lambda old: header)
    with pytest.raises(ValueError, match=r"m\.safetensors is corrupt or cut short"):
        gf.load(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"width": 6', '"width": "six"'),
        ('"width": 6', '"width": -1'),
        ('"dim": 4', '"dim": null'),
        ('"name": "egnn"', '"name": "nope"'),
    ],
)
def test_invalid_spec_names_its_file(tmp_path, old, new):
    path = gf.save(plain(), tmp_path / "m")
    rewritten(path, lambda header: header.replace(old, new))
    with pytest.raises(
        ValueError, match=r"m\.safetensors has a model spec that this graphfew cannot build"
    ):
        gf.load(path)


def test_optimizer_state_of_another_shape_is_refused(tmp_path):
    first, other = plain(), plain(8)
    for model in (first, other):
        optimizer = torch.optim.Adam(model.parameters())
        model(_episode()).logits.sum().backward()
        optimizer.step()
        gf.save(model, tmp_path / f"{'first' if model is first else 'other'}", optimizer=optimizer)
    raw = {}
    for name in ("first", "other"):
        with safe_open(tmp_path / f"{name}.safetensors", framework="pt") as file:
            raw[name] = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    swapped = {
        key: raw["other"][0][key] if key.startswith("optimizer/") else value
        for key, value in raw["first"][0].items()
    }
    save_file(swapped, tmp_path / "first.safetensors", metadata=raw["first"][1])
    again = plain()
    with pytest.raises(
        ValueError, match=r"holds no state of this optimizer's weight \d+, of shape"
    ):
        gf.load(tmp_path / "first", into=again, optimizer=torch.optim.Adam(again.parameters()))


def _episode():
    return gf.Episode.single(
        torch.randn(6, 4), torch.tensor([0, 1, 0, 1, -1, -1]), torch.arange(6) >= 4, 2
    )


@pytest.mark.parametrize(
    "line",
    [
        "x = " + "[" * 5000 + "]" * 5000,
        "x = " + "9" * 5000,
        "a" + ".a" * 5000 + " = 1",
        "x = {" + "a." * 5000 + "a = 1}",
    ],
)
def test_unparsable_toml_names_its_file(tmp_path, line):
    began = time.process_time()
    with pytest.raises(ValueError, match=r"small\.toml (is|cannot be)"):
        spec(tmp_path, f"{SMALL}\n{line}\n")
    (tmp_path / "figures.toml").write_text(line)
    with pytest.raises(ValueError, match=r"figures\.toml (is|cannot be)"):
        read_published_results(tmp_path / "figures.toml")
    assert time.process_time() - began < 5


def test_strings_with_many_dots_are_strings(tmp_path):
    assert spec(tmp_path, f'about = "{"so on. " * 150}"\n{SMALL}').about.startswith("so on. so on")


def test_invalid_published_figures_name_their_file(tmp_path):
    for content in (b"\xff\xfe", b"figure = [1]", b"figure = 1"):
        (tmp_path / "figures.toml").write_bytes(content)
        with pytest.raises(ValueError, match=r"figures\.toml"):
            read_published_results(tmp_path / "figures.toml")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("machine", 5),
        ("versions", []),
        ("seconds", 0.0),
        ("seconds", "1"),
        ("seconds", True),
        ("n_queries", None),
        ("seed", "0"),
        ("metrics", {"auroc": "high"}),
        ("commit", 3),
        ("peak_memory", 1.5),
        ("time", None),
    ],
)
def test_invalid_record_is_reported(tmp_path, name, value):
    content = {**json.loads(made().to_line()), name: value}
    (tmp_path / "out.jsonl").write_text(json.dumps(content) + "\n" + made().to_line())
    records, (fault,) = read_records(tmp_path / "out.jsonl")
    assert len(records) == 1
    assert f"out.jsonl, line 1: not a benchmark record ({name}" in str(fault)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mean", "NaN"),
        ("half_width", "Infinity"),
        ("per_task", "[1.0, NaN]"),
        ("mode", "7"),
        ("tasks", "[]"),
        ("calibration_error", "true"),
    ],
)
def test_invalid_result_is_reported(tmp_path, name, value):
    content = json.loads(made().to_line())
    content["result"][name] = None
    (tmp_path / "out.jsonl").write_text(
        json.dumps(content).replace(f'"{name}": null', f'"{name}": {value}')
    )
    records, (fault,) = read_records(tmp_path / "out.jsonl")
    assert records == ()
    assert f"(result.{name}" in str(fault)


def test_deeply_nested_lines_are_reported(tmp_path):
    (tmp_path / "out.jsonl").write_text(DEEP + "\n" + made().to_line())
    records, faults = read_records(tmp_path / "out.jsonl")
    assert (len(records), len(faults)) == (1, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("way", 5),
        ("steps", "7"),
        ("steps", True),
        ("lr", "fast"),
        ("views", 1.5),
        ("encoder_arguments", []),
        ("transductive", "yes"),
    ],
)
def test_option_of_another_type_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"^{name} is .*it must be"):
        read_options({name: value})
    assert read_options({"steps": 7, "lr": 1, "way": "5", "transductive": None})["steps"] == 7


@pytest.mark.parametrize(
    "text", ["\udcff", DEEP, "[]", '{"arguments": [], "versions": {}}', '{"arguments": {"way": 5}}']
)
def test_invalid_run_file_is_named(tmp_path, text):
    for path, call in (
        (RunDir(tmp_path).config, lambda: read_config(RunDir(tmp_path))),
        (RunDir(tmp_path).metrics, lambda: truncate_metrics(RunDir(tmp_path), 3)),
    ):
        path.write_bytes(text.encode("utf-8", "surrogateescape") + b"\n")
        with pytest.raises(ValueError, match=rf"{path.name} cannot be read"):
            call()


@pytest.mark.parametrize(
    "extra", [{"step": "1"}, {"step": 1.5}, {"best": None}, {"stale": True}, {"other": 1}]
)
def test_invalid_progress_is_refused(tmp_path, extra):
    with pytest.raises(
        ValueError, match=r"last\.safetensors is not a checkpoint of a training run"
    ):
        parse_progress(RunDir(tmp_path), extra)


X, Y, QUERY = torch.ones(6, 2), torch.tensor([0, 1, 0, 1, -1, -1]), torch.arange(6) >= 4


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": [[0.0]] * 6}, TypeError, "x is a list"),
        ({"y": None}, TypeError, "y is a NoneType"),
        ({"x": torch.eye(6).to_sparse()}, TypeError, "dense torch.Tensor"),
        ({"sizes": 6}, TypeError, "sizes is 6"),
        ({"x": torch.zeros(6, 2, device="meta")}, ValueError, "on meta"),
        ({"x": torch.tensor(1.0)}, ValueError, r"shape \(\)"),
        ({"sizes": (2.5, 3.5)}, TypeError, "whole numbers"),
        ({"way": ("a",)}, TypeError, "way is"),
        (
            {"way": (10**12,)},
            ValueError,
            "task 0 has 6 items and way 1000000000000; every class needs a shot",
        ),
        (
            {"sizes": (10**30, 6 - 10**30), "way": (2, 2)},
            ValueError,
            "every task needs its own items",
        ),
        (
            {"x": torch.zeros(6, 2).to(torch.float8_e4m3fn)},
            TypeError,
            "convert it to a floating type",
        ),
    ],
)
def test_invalid_episode_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        gf.Episode(**{"x": X, "y": Y, "query": QUERY, "sizes": (6,), "way": (2,), **change})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": None}, "x must be a dense"),
        ({"y": [0]}, "y must be a dense"),
        ({"classes": None}, "classes is"),
        ({"groups": (1, 2)}, "groups is"),
        ({"x": X.to(torch.float8_e4m3fn)}, "x is torch.float8"),
    ],
)
def test_invalid_data_set_is_refused(change, message):
    with pytest.raises(TypeError, match=message):
        gf.Dataset(
            **{
                "name": "a",
                "split": "all",
                "x": X,
                "y": Y.clamp_min(0),
                "classes": ("a", "b"),
                **change,
            }
        )


def test_labels_of_a_dtype_unknown_to_numpy_are_refused():
    with pytest.raises(TypeError, match="y cannot be read as labels"):
        gf.data.arrays(X, torch.ones(6).to(torch.float8_e4m3fn))


def test_error_of_an_unbuildable_model_is_short():
    config = TrainConfig("prototypical", "digits", encoder_arguments={"width": "x" * 9000})
    with pytest.raises(ValueError, match="conv4 cannot be built with") as told:
        build_model(config)
    assert len(str(told.value)) < 1500
