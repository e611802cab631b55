"""The registry: names, arguments and seeds."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from episodes import REQUIRED

import graphfew as gf


def test_an_unknown_method_lists_the_known_ones():
    with pytest.raises(
        ValueError, match=f"'nope'; expected one of: {', '.join(sorted(gf.METHODS))}"
    ):
        gf.create("nope", encoder=gf.backbones.identity(4))


def test_an_unknown_argument_lists_the_known_ones():
    known = "layers, width, p, pull, transductive"
    with pytest.raises(ValueError, match=f"egnn has no argument 'depth'; expected one of: {known}"):
        gf.create("egnn", encoder=gf.backbones.identity(4), depth=3)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("logistic", {"steps": 2.5}, "logistic needs an integer as steps, got 2.5"),
        ("logistic", {"steps": True}, "needs an integer as steps, got True"),
        ("ridge", {"scale": "a"}, "ridge needs a number as scale, got 'a'"),
        ("ridge", {"scale": None}, "needs a number as scale, got None"),
        ("zero_head", {"test_steps": 1.5}, "needs an integer or None as test_steps, got 1.5"),
        ("zero_head", {"first_order": "False"}, "needs True or False as first_order, got 'False'"),
        ("hsml", {"clusters": 4}, "hsml needs a sequence of integers as clusters, got 4"),
        ("hsml", {"clusters": "42"}, "needs a sequence of integers as clusters, got '42'"),
        ("hsml", {"clusters": (2.5,)}, "needs a sequence of integers as clusters"),
        ("zero_head", {"step_sizes": "fixed_rate"}, "needs a function such as learned_rate as"),
    ],
)
def test_arguments_of_a_wrong_type_raise(name, arguments, message):
    with pytest.raises(gf.errors.InvalidTypeError, match=message):
        gf.create(name, encoder=gf.backbones.identity(4), **arguments)


@pytest.mark.usefixtures("unchecked")
def test_numbers_of_numpy_are_numbers():
    arguments = {"rate": np.float32(1), "steps": np.int64(2), "test_steps": None}
    assert gf.create("zero_head", encoder=gf.backbones.identity(4), **arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("leo", {"latent_rate": 1, "finetuning_rate": 1}),
        ("maml_plus_plus", {"step_size": 1}),
        ("meta_sgd", {"step_size": 1}),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_integers_are_initial_values_of_learned_rates(name, arguments):
    model = gf.create(name, encoder=gf.backbones.identity(4), **arguments)
    assert all(weight.is_floating_point() for weight in model.parameters())


def test_modules_without_out_dim_need_dim():
    with pytest.raises(ValueError, match="pass its output width as dim="):
        gf.create("egnn", encoder=torch.nn.Linear(4, 4))
    assert gf.create("egnn", encoder=torch.nn.Linear(4, 4), dim=4).spec is None


def test_registering_returns_the_factory_unchanged(monkeypatch):
    monkeypatch.setattr("graphfew.methods.registry.METHODS", {})
    factory = gf.methods.egnn
    assert gf.register_method(paper="none")(factory) is factory


def test_registering_a_name_twice_raises():
    with pytest.raises(ValueError, match="already registered"):
        gf.register_method(paper="none")(gf.methods.egnn)


def test_registering_an_unknown_capability_raises():
    with pytest.raises(TypeError, match="inductve"):
        gf.register_method(paper="none", inductve=True)(lambda encoder, *, dim: None)


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    models = [
        gf.create("egnn", encoder=gf.backbones.conv4(width=4, seed=s), seed=s, width=6)
        for s in (0, 0, 1)
    ]
    assert torch.equal(torch.rand(1), expected)
    first, again, other = ([*m.parameters()] for m in models)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[-2], other[-2])


def scaled_egnn(encoder, *, dim, width=8):
    return gf.methods.egnn(encoder, dim=dim, width=width)


def test_create_builds_a_registered_method_by_its_name(monkeypatch):
    monkeypatch.setattr("graphfew.methods.registry.METHODS", dict(gf.METHODS))
    gf.register_method(paper="none")(scaled_egnn)
    first = gf.create("scaled_egnn", encoder=gf.backbones.identity(4), seed=3, width=6)
    assert (first.spec.name, first.spec.arguments["width"]) == ("scaled_egnn", 6)
    assert "scaled_egnn" not in gf.METHODS
    with pytest.raises(ValueError, match="'scaled_egnn' is already registered"):
        gf.register_method(paper="none")(scaled_egnn)


def test_a_rejected_registration_leaves_the_existing_method():
    before = gf.METHODS["egnn"]
    with pytest.raises(ValueError, match="already registered"):
        gf.register_method(paper="none")(gf.methods.egnn)
    assert gf.METHODS["egnn"] is before


@pytest.mark.parametrize("name", sorted(gf.METHODS))
def test_every_method_matches_its_registry_entry(name):
    method = gf.METHODS[name]
    needed = {**REQUIRED.get(name, {}), **({"way": 3} if method.fixed_way else {})}
    for transductive in (False, True):
        both = {"transductive": transductive} if method.inductive and method.transductive else {}
        model = gf.create(name, encoder=gf.backbones.identity(4), **needed, **both)
        assert model.transductive is (transductive if both else method.transductive)
    with pytest.raises(ValueError, match=rf"{name} has no argument 'zz'"):
        gf.create(name, encoder=gf.backbones.identity(4), zz=1)


def test_no_method_imports_another_method():
    """A method is one file; shared code is in `graphfew.nn` or a private module."""
    shared = {"losses", "registry"}
    for file in Path(gf.methods.__file__).parent.glob("[a-z]*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                package, _, module = name.partition("graphfew.methods.")
                is_method = not package and module and not module.startswith("_")
                assert not is_method or module in shared, f"{file.name} imports {name}"
