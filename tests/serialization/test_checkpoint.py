"""Checkpoints: round trips, rejected files, and atomic writes."""

import ast
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sources import Gaussians

import graphfew as gf
from graphfew.serialization import _checkpoint_format, checkpoint


def model(width=6):
    return gf.create("egnn", encoder=gf.backbones.conv4(width=4, size=16), layers=2, width=width)


def state(m):
    return {name: value.clone() for name, value in m.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def rewrite_header(path, **changes):
    """Change fields of the header of a file."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["graphfew"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata={"graphfew": json.dumps({**header, **changes})})


def test_weights_spec_provenance_and_extra_round_trip(tmp_path):
    m = model()
    m.provenance = {"training_seed": 3}
    path = gf.save(m, tmp_path / "deep" / "run", extra={"step": 7})
    assert path == tmp_path / "deep" / "run.safetensors"
    loaded = gf.load(tmp_path / "deep" / "run")
    assert same(state(m), state(loaded))
    assert loaded.spec == m.spec
    assert loaded.provenance == {"training_seed": 3}
    assert checkpoint.read_extra(path) == {"step": 7}


def test_metrics_are_saved_by_name(tmp_path):
    m = gf.create("prototypical", encoder=gf.backbones.identity(4), metric=gf.nn.cosine, scale=7.0)
    loaded = gf.load(gf.save(m, tmp_path / "m"))
    episode, _ = Gaussians().task(0)
    assert torch.equal(loaded(episode).logits, m(episode).logits)


def test_training_resumes_with_the_saved_optimizer(tmp_path):
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
    run(whole, torch.optim.Adam(whole.parameters()), 0, 4)
    optimizer = torch.optim.Adam(parts.parameters())
    run(parts, optimizer, 0, 2)
    gf.save(parts, tmp_path / "last", optimizer=optimizer)
    resumed = torch.optim.Adam(again.parameters())
    gf.load(tmp_path / "last", into=again, optimizer=resumed)
    run(again, resumed, 2, 4)
    assert same(state(whole), state(again))


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_files_are_rejected(tmp_path, keep):
    path = gf.save(model(), tmp_path / "m")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"m\.safetensors is corrupt or cut short"):
        gf.load(path)


def test_missing_and_other_files_are_rejected(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        gf.load(tmp_path / "none")
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="not a graphfew checkpoint"):
        gf.load(tmp_path / "other")


def test_newer_formats_are_rejected(tmp_path):
    path = gf.save(model(), tmp_path / "m")
    rewrite_header(path, format=_checkpoint_format.FORMAT + 1)
    with pytest.raises(ValueError, match=r"format 2; this graphfew reads up to 1"):
        gf.load(path)


def test_weights_of_another_model_leave_the_model_unchanged(tmp_path):
    path, other = gf.save(model(6), tmp_path / "m"), model(8)
    before = state(other)
    with pytest.raises(ValueError, match="of another model: layers"):
        gf.load(path, into=other)
    assert same(before, state(other))


def test_custom_models_need_into(tmp_path):
    def build():
        return gf.create("prototypical", encoder=torch.nn.Linear(4, 4), dim=4)

    m = build()
    path = gf.save(m, tmp_path / "m")
    with pytest.raises(ValueError, match="pass it as into="):
        gf.load(path)
    assert same(state(gf.load(path, into=build())), state(m))


def test_failed_writes_leave_the_previous_file(tmp_path, monkeypatch):
    m = model()
    path = gf.save(m, tmp_path / "m")
    before = path.read_bytes()

    def failing_save_file(tensors, target, metadata):
        Path(target).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint, "save_file", failing_save_file)
    with pytest.raises(OSError, match="disk full"):
        gf.save(model(8), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("module", [checkpoint, _checkpoint_format])
def test_nothing_is_unpickled(module):
    tree = ast.parse(Path(module.__file__).read_text())
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


CORRUPTIONS = {
    "garbage": lambda raw: b"\xff" * 400,
    "header": lambda raw: raw[:20] + b"\xff" + raw[21:],
    "length": lambda raw: b"\x01" + raw[1:],
    "longer": lambda raw: raw + b"more",
}


@pytest.mark.parametrize("corrupt", CORRUPTIONS.values(), ids=CORRUPTIONS)
def test_corrupt_files_are_rejected(tmp_path, corrupt):
    path = gf.save(model(), tmp_path / "m")
    path.write_bytes(corrupt(path.read_bytes()))
    for read in (gf.load, checkpoint.read_extra):
        with pytest.raises(ValueError, match=r"m\.safetensors is corrupt or cut short"):
            read(path)


@pytest.mark.parametrize("header", ["null", "[]", "3", '"text"'])
def test_headers_that_are_not_objects_are_rejected(tmp_path, header):
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
def test_headers_with_missing_or_invalid_fields_are_rejected(tmp_path, header):
    save_file({"a": torch.zeros(2)}, tmp_path / "m.safetensors", metadata={"graphfew": header})
    with pytest.raises(ValueError, match=r"checkpoint"):
        gf.load(tmp_path / "m")


def test_specs_that_cannot_be_built_are_rejected(tmp_path):
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
        rewrite_header(path, recipe=recipe)
        with pytest.raises(ValueError, match=message):
            gf.load(path)


def small_egnn(seed=0):
    return gf.create("egnn", encoder=gf.backbones.identity(4), layers=1, width=6, seed=seed)


def test_weights_with_other_names_are_rejected(tmp_path):
    path = gf.save(small_egnn(), tmp_path / "m")
    other = gf.create("prototypical", encoder=gf.backbones.identity(4))
    with pytest.raises(ValueError, match=r"of another model.*missing"):
        gf.load(path, into=other)


def test_missing_optimizer_state_is_rejected(tmp_path):
    path, optimizer = (
        gf.save(small_egnn(), tmp_path / "m"),
        torch.optim.Adam(small_egnn(1).parameters()),
    )
    with pytest.raises(ValueError, match="holds no state for this optimizer"):
        gf.load(path, into=small_egnn(1), optimizer=optimizer)
    assert optimizer.state_dict()["state"] == {}


def test_missing_optimizer_state_leaves_the_model_unchanged(tmp_path):
    path, other = gf.save(small_egnn(0), tmp_path / "m"), small_egnn(1)
    before = state(other)
    with pytest.raises(ValueError, match="holds no state for this optimizer"):
        gf.load(path, into=other, optimizer=torch.optim.Adam(other.parameters()))
    assert same(before, state(other))


def test_suffix_is_appended_to_names_with_a_dot(tmp_path):
    path = gf.save(small_egnn(), tmp_path / "run.v1")
    assert path.name == "run.v1.safetensors"
    assert same(state(gf.load(tmp_path / "run.v1")), state(gf.load(path)))


def test_saving_replaces_the_file_and_leaves_the_model_unchanged(tmp_path):
    m = small_egnn(1)
    before = state(m)
    gf.save(small_egnn(0), tmp_path / "m")
    path = gf.save(m, tmp_path / "m")
    assert same(state(gf.load(path)), before)
    assert same(state(m), before)
    assert list(tmp_path.iterdir()) == [path]


def test_extra_is_read_without_the_tensors(tmp_path, monkeypatch):
    path = gf.save(model(), tmp_path / "m", extra={"step": 7})

    class HeaderOnly:
        def __init__(self, *args, **kwargs):
            self.file = safe_open(*args, **kwargs)

        def __enter__(self):
            self.file.__enter__()
            return self

        def __exit__(self, *error):
            return self.file.__exit__(*error)

        def metadata(self):
            return self.file.metadata()

        def keys(self):
            return self.file.keys()

        def get_tensor(self, name):
            raise AssertionError(f"{name} was read")

    monkeypatch.setattr(_checkpoint_format, "safe_open", HeaderOnly)
    assert checkpoint.read_extra(path) == {"step": 7}


def test_bytes_are_loaded_like_the_file(tmp_path):
    m = model()
    m.provenance = {"training_seed": 3}
    content = gf.save(m, tmp_path / "m").read_bytes()
    loaded = checkpoint.load_bytes(content)
    assert same(state(loaded), state(m))
    assert (loaded.spec, loaded.provenance) == (m.spec, m.provenance)


@pytest.mark.parametrize("corrupt", CORRUPTIONS.values(), ids=CORRUPTIONS)
def test_corrupt_bytes_are_rejected(tmp_path, corrupt):
    content = gf.save(model(), tmp_path / "m").read_bytes()
    with pytest.raises(ValueError, match="is corrupt or cut short"):
        checkpoint.load_bytes(corrupt(content))
