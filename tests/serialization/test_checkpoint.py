"""Checkpoints: what is kept, what is refused, and that nothing is lost in a broken write."""

import ast
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sources import Gaussians

import graphfew as gf
from graphfew.serialization import checkpoint


def model(width=6):
    return gf.create("egnn", encoder=gf.backbones.conv4(width=4, size=16), layers=2, width=width)


def state(m):
    return {name: value.clone() for name, value in m.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def rewritten(path, **changes):
    """The file with its header changed."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["graphfew"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata={"graphfew": json.dumps({**header, **changes})})


def test_weights_recipe_provenance_and_extra_come_back(tmp_path):
    m = model()
    m.provenance = {"training_seed": 3}
    path = gf.save(m, tmp_path / "deep" / "run", extra={"step": 7})
    assert path == tmp_path / "deep" / "run.safetensors"
    loaded = gf.load(tmp_path / "deep" / "run")
    assert same(state(m), state(loaded))
    assert loaded.spec == m.spec
    assert loaded.provenance == {"training_seed": 3}
    assert checkpoint.read_extra(path) == {"step": 7}


def test_a_metric_is_kept_by_name(tmp_path):
    m = gf.create("prototypical", encoder=gf.backbones.identity(4), metric=gf.nn.cosine, scale=7.0)
    loaded = gf.load(gf.save(m, tmp_path / "m"))
    episode, _ = Gaussians().task(0)
    assert torch.equal(loaded(episode).logits, m(episode).logits)


def test_the_optimizer_comes_back(tmp_path):
    def fresh():
        return gf.create("egnn", encoder=gf.backbones.identity(4), layers=1, width=6)

    def run(m, optimizer, start, steps):
        for _ in gf.train(
            m,
            Gaussians(),
            loss=gf.edge_loss,
            batch=2,
            start=start,
            steps=steps,
            optimizer=optimizer,
        ):
            pass

    whole, parts, again = fresh(), fresh(), fresh()
    run(whole, gf.training.adam(whole), 0, 4)
    optimizer = gf.training.adam(parts)
    run(parts, optimizer, 0, 2)
    gf.save(parts, tmp_path / "last", optimizer=optimizer)
    resumed = gf.training.adam(again)
    gf.load(tmp_path / "last", into=again, optimizer=resumed)
    run(again, resumed, 2, 4)
    assert same(state(whole), state(again))


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_file_cut_short_is_refused(tmp_path, keep):
    path = gf.save(model(), tmp_path / "m")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"m\.safetensors is corrupt or cut short"):
        gf.load(path)


def test_other_files_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        gf.load(tmp_path / "none")
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="not a graphfew checkpoint"):
        gf.load(tmp_path / "other")


def test_a_newer_format_is_refused(tmp_path):
    path = gf.save(model(), tmp_path / "m")
    rewritten(path, format=checkpoint.FORMAT + 1)
    with pytest.raises(ValueError, match=r"format 2; this graphfew reads up to 1"):
        gf.load(path)


def test_another_model_is_refused_and_left_as_it_was(tmp_path):
    path, other = gf.save(model(6), tmp_path / "m"), model(8)
    before = state(other)
    with pytest.raises(ValueError, match="of another model: layers"):
        gf.load(path, into=other)
    assert same(before, state(other))


def test_a_model_built_by_hand_needs_itself_to_be_filled(tmp_path):
    def built():
        return gf.create("prototypical", encoder=torch.nn.Linear(4, 4), dim=4)

    m = built()
    path = gf.save(m, tmp_path / "m")
    with pytest.raises(ValueError, match="pass it as into="):
        gf.load(path)
    assert same(state(gf.load(path, into=built())), state(m))


def test_a_write_that_breaks_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    m = model()
    path = gf.save(m, tmp_path / "m")
    before = path.read_bytes()

    def broken(tensors, target, metadata):
        Path(target).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint, "save_file", broken)
    with pytest.raises(OSError, match="disk full"):
        gf.save(model(8), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_unpickled():
    tree = ast.parse(Path(checkpoint.__file__).read_text())
    modules = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in modules} & {
        "pickle",
        "cloudpickle",
        "dill",
        "joblib",
        "shelve",
    }
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not called & {"torch.load", "torch.save", "eval", "exec"}


BROKEN = {
    "garbage": lambda raw: b"\xff" * 400,
    "header": lambda raw: raw[:20] + b"\xff" + raw[21:],
    "length": lambda raw: b"\x01" + raw[1:],
    "longer": lambda raw: raw + b"more",
}


@pytest.mark.parametrize("breaking", BROKEN.values(), ids=BROKEN)
def test_a_corrupt_file_is_refused(tmp_path, breaking):
    path = gf.save(model(), tmp_path / "m")
    path.write_bytes(breaking(path.read_bytes()))
    for read in (gf.load, checkpoint.read_extra):
        with pytest.raises(ValueError, match=r"m\.safetensors is corrupt or cut short"):
            read(path)


@pytest.mark.parametrize("header", ["null", "[]", "3", '"text"'])
def test_a_header_that_is_no_checkpoint_s_is_refused(tmp_path, header):
    save_file({"a": torch.zeros(2)}, tmp_path / "m.safetensors", metadata={"graphfew": header})
    with pytest.raises(ValueError, match="not a graphfew checkpoint"):
        gf.load(tmp_path / "m")


@pytest.mark.parametrize(
    "header",
    [
        "{}",
        '{"format": "1"}',
        '{"format": 1}',
        '{"format": 1, "recipe": {"name": "egnn"}, "extra": {}}',
    ],
)
def test_a_header_with_missing_or_odd_values_is_refused(tmp_path, header):
    save_file({"a": torch.zeros(2)}, tmp_path / "m.safetensors", metadata={"graphfew": header})
    with pytest.raises(ValueError, match=r"checkpoint"):
        gf.load(tmp_path / "m")


def test_a_recipe_that_cannot_be_followed_is_refused(tmp_path):
    path = gf.save(model(), tmp_path / "m")
    for recipe, message in (
        (
            {
                "name": "nope",
                "arguments": {"encoder": {"name": "identity", "arguments": {"dim": 4}}},
            },
            "unknown method 'nope'",
        ),
        ({"name": "egnn", "arguments": {}}, "has no valid encoder"),
    ):
        rewritten(path, recipe=recipe)
        with pytest.raises(ValueError, match=message):
            gf.load(path)


def plain(seed=0):
    return gf.create("egnn", encoder=gf.backbones.identity(4), layers=1, width=6, seed=seed)


def test_weights_with_another_name_are_refused(tmp_path):
    path = gf.save(plain(), tmp_path / "m")
    other = gf.create("prototypical", encoder=gf.backbones.identity(4))
    with pytest.raises(ValueError, match=r"of another model.*missing"):
        gf.load(path, into=other)


def test_an_optimizer_without_saved_state_is_refused(tmp_path):
    path, optimizer = gf.save(plain(), tmp_path / "m"), gf.training.adam(plain(1))
    with pytest.raises(ValueError, match="holds no state for this optimizer"):
        gf.load(path, into=plain(1), optimizer=optimizer)
    assert optimizer.state_dict()["state"] == {}


def test_a_refused_optimizer_leaves_the_model_as_it_was(tmp_path):
    path, other = gf.save(plain(0), tmp_path / "m"), plain(1)
    before = state(other)
    with pytest.raises(ValueError, match="holds no state for this optimizer"):
        gf.load(path, into=other, optimizer=gf.training.adam(other))
    assert same(before, state(other))


def test_the_suffix_is_added_to_a_name_with_a_dot(tmp_path):
    path = gf.save(plain(), tmp_path / "run.v1")
    assert path.name == "run.v1.safetensors"
    assert same(state(gf.load(tmp_path / "run.v1")), state(gf.load(path)))


def test_saving_over_a_file_replaces_it_and_leaves_the_model_alone(tmp_path):
    m = plain(1)
    before = state(m)
    gf.save(plain(0), tmp_path / "m")
    path = gf.save(m, tmp_path / "m")
    assert same(state(gf.load(path)), before)
    assert same(state(m), before)
    assert list(tmp_path.iterdir()) == [path]
