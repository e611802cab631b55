"""Exported programs answer as their models do, other items and other labels too; what cannot be exported says why."""

import copy
import importlib
import itertools

import pytest
import torch
from episodes import DIM, identity_model, task
from torch import nn

import graphfew as gf
from graphfew.export import decompositions

# Methods of many rounds make programs of thousands of operators; a few rounds have all kinds of them.
FEW = {
    "alpha_tim": {"steps": 3},
    "tim": {"steps": 3},
    "pool_prototypes": {"num_iterations": 2},
    "pt_map": {"num_iterations": 2},
    "propagated_prototypes": {"num_iterations": 2},
    "attention_attractor": None,
}
REFUSED = {"linear_head": "values leave torch", "matching_fce": "hangs on the items' values"}
EXPORTED = [
    (name, mode)
    for name, method in sorted(gf.METHODS.items())
    if name not in REFUSED and FEW.get(name, {}) is not None
    for mode in (
        ["transductive", "inductive"] if method.inductive and method.transductive else ["its mode"]
    )
]
# Without training, and EGNN; the others are shown to be exported, which is where they differ.
IN_ONNX = [
    case
    for case in EXPORTED
    if gf.METHODS[case[0]].loss is None or case[0] in ("egnn", "prototypical", "multi_metric")
]


def arguments(name, mode="its mode"):
    method = gf.METHODS[name]
    return {
        **({} if mode == "its mode" else {"transductive": mode == "transductive"}),
        **(FEW.get(name) or {}),
        **({"way": 3} if method.fixed_way else {}),
        **({"shot": 2} if method.fixed_shot else {}),
    }


def episodes(name):
    """Two tasks of different sizes, and others of the same sizes with labels in another order."""
    unlabeled = 2 if gf.METHODS[name].unlabeled else 0
    first = gf.collate([task(1, 3, (2,), 4, unlabeled), task(2, 3, (2,), 3, unlabeled)])
    return first, other(first, seed=5, turn=not gf.METHODS[name].node_order_matters)


def other(episode, seed, turn=True):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(episode.x.shape, generator=generator, dtype=episode.x.dtype)
    y = episode.y.clone()
    for number in range(episode.n_tasks if turn else 0):
        own = torch.nonzero((episode.task == number) & ~episode.query).flatten()
        y[own] = y[own[torch.randperm(len(own), generator=generator)]]
    return gf.Episode(x, y, episode.query, episode.sizes, episode.way)


@pytest.mark.parametrize(("name", "mode"), EXPORTED)
def test_a_program_answers_as_its_model(name, mode):
    model = identity_model(name, **arguments(name, mode))
    first, second = episodes(name)
    before = copy.deepcopy(model.state_dict())
    program = gf.export.export_program(model, first).module()
    with gf.nn.eval_mode(model):
        for episode in (first, second):
            ours, theirs = model(episode).logits, program(episode.x, episode.y)
            assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-9)
        assert not torch.allclose(program(first.x, first.y), program(second.x, first.y))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("name", "words"), REFUSED.items())
def test_what_cannot_be_exported_says_why(name, words):
    with pytest.raises(ValueError, match=f"{name} cannot be exported.*{words}"):
        gf.export.export_program(identity_model(name), episodes(name)[0])


@pytest.mark.parametrize("name", ["label_propagation", "label_spreading"])
def test_large_tasks_are_solved_step_by_step_and_so_refused(name, monkeypatch):
    monkeypatch.setattr(
        importlib.import_module("graphfew.methods._propagation_graph"), "DENSE_NODES", 5
    )
    with pytest.raises(ValueError, match="hangs on the items' values"):
        gf.export.export_program(identity_model(name), episodes(name)[0].take([0]))


@pytest.mark.parametrize("name", ["pt_map", "propagated_prototypes", "tim"])
def test_exactly_divided_queries_are_refused_or_exported(name):
    model = identity_model(name, **arguments(name), balanced=True)
    if name == "tim":
        gf.export.export_program(model, episodes(name)[0])
    else:
        with pytest.raises(ValueError, match="hangs on the items' values"):
            gf.export.export_program(model, episodes(name)[0])


@pytest.mark.parametrize(("name", "mode"), IN_ONNX)
def test_an_onnx_file_answers_as_its_model(name, mode, tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = gf.create(name, encoder=gf.backbones.identity(DIM), **arguments(name, mode))
    # EGNN's tasks differ in size; one task is enough for the others, whose solves make long programs.
    tasks = [0, 1] if name == "egnn" else [0]
    first, second = (episode.take(tasks).to(torch.float32) for episode in episodes(name))
    path = gf.export.to_onnx(model, first, tmp_path / "folder" / "model")
    assert path == tmp_path / "folder" / "model.onnx"
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(str(path))
    with gf.nn.eval_mode(model):
        for episode in (first, second):
            (theirs,) = session.run(["logits"], {"x": episode.x.numpy(), "y": episode.y.numpy()})
            ours = model(episode).logits
            assert torch.allclose(
                ours, torch.from_numpy(theirs), rtol=1e-3, atol=1e-4 * float(ours.abs().max())
            )


def images(seed):
    first = task(seed, 3, (2,), 4)
    x = torch.rand(len(first.y), 1, 28, 28, generator=torch.Generator().manual_seed(seed))
    return gf.Episode.single(x, first.y, first.query, 3)


def test_an_encoder_goes_along(tmp_path):
    model = gf.create("prototypical", encoder=gf.backbones.conv4(width=8))
    first, second = images(1), other(images(1), 2)
    program = gf.export.export_program(model, first).module()
    with gf.nn.eval_mode(model):
        assert torch.allclose(
            program(second.x, second.y), model(second).logits, rtol=1e-3, atol=1e-3
        )
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    session = onnxruntime.InferenceSession(
        str(gf.export.to_onnx(model, first, tmp_path / "model.onnx"))
    )
    (theirs,) = session.run(None, {"x": second.x.numpy(), "y": second.y.numpy()})
    with gf.nn.eval_mode(model):
        assert torch.allclose(model(second).logits, torch.from_numpy(theirs), rtol=1e-3, atol=1e-3)


def test_weights_that_are_used_as_they_are_keep_their_names_and_ask_for_gradients_again():
    model = gf.create("egnn", encoder=gf.backbones.identity(DIM), width=6).double()
    program = gf.export.export_program(model, episodes("egnn")[0])
    named = {name.rpartition(".")[2] for name in program.state_dict}
    assert "layers_0_node_net_1_norm_weight" in named
    assert all(weight.requires_grad for weight in model.parameters())
    assert model.training


@pytest.mark.parametrize(
    "spoil",
    [
        lambda y, e: y.masked_fill(e.query, 0),
        lambda y, e: torch.where(y == 0, 1, y),
        lambda y, e: torch.where((y == 0) & ~e.query, -1, y),
        lambda y, e: torch.where(y == 0, 3, y),
        lambda y, e: torch.where(y == 0, -2, y),
    ],
    ids=["a labeled query", "another class", "no label", "class 3", "-2"],
)
def test_labels_that_a_program_was_not_made_for_give_nan(spoil):
    first, _ = episodes("egnn")
    program = gf.export.export_program(identity_model("egnn", width=6), first).module()
    assert program(first.x, spoil(first.y, first)).isnan().all()
    assert program(first.x, first.y).isfinite().all()


def test_a_method_that_reads_the_order_takes_its_labels_alone():
    first, _ = episodes("hybrid_attention")
    program = gf.export.export_program(identity_model("hybrid_attention", shot=2), first).module()
    own = torch.nonzero(first.y >= 0).flatten()
    turned = first.y.clone()
    turned[own] = first.y[own.flip(0)]
    assert program(first.x, turned).isnan().all()


def test_an_episode_that_the_model_refuses_is_refused_as_ever():
    with pytest.raises(ValueError, match="unlabeled"):
        gf.export.export_program(identity_model("prototypical"), episodes("egnn")[0])


class Leaky(nn.Module):
    """Reads its items where torch cannot see it."""

    def forward(self, x):
        return x + torch.frombuffer(bytearray(bytes(x.untyped_storage())), dtype=x.dtype).view_as(x)


def test_a_program_that_would_answer_otherwise_is_not_handed_out():
    model = gf.create("prototypical", encoder=Leaky(), dim=DIM).double()
    with pytest.raises(RuntimeError, match="is off by"):
        gf.export.export_program(model, episodes("prototypical")[0])


@pytest.mark.parametrize(
    "act",
    [
        lambda x: x[x > 0].sum() + x,
        lambda x: x * float(x.sum()),
        lambda x: x + x.max().item(),
        lambda x: x.unique()[:3].sum() + x,
        lambda x: x if x.sum() > 0 else -x,
        lambda x: x + torch.zeros(x.shape[0], DIM, dtype=x.dtype).copy_(x),
        lambda x: x * len(x.nonzero()),
        lambda x: x + torch.tensor(x.tolist()),
    ],
)
def test_work_that_hangs_on_values_is_refused(act):
    encoder = nn.Identity()
    encoder.forward = act
    with pytest.raises(ValueError, match="cannot be exported"):
        gf.export.export_program(
            gf.create("prototypical", encoder=encoder, dim=DIM).double(),
            episodes("prototypical")[0],
        )


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    (tmp_path / "model.onnx").write_text("old")

    def broken(*_, **__):
        raise RuntimeError("no operator")

    monkeypatch.setattr(torch.onnx, "export", broken)
    with pytest.raises(ValueError, match="no operator"):
        gf.export.to_onnx(
            identity_model("nearest_neighbor"), episodes("nearest_neighbor")[0], tmp_path / "model"
        )
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_a_place_that_cannot_be_written_to_is_told_by_the_file_s_name():
    pytest.importorskip("onnxscript")
    model, episode = (
        identity_model("nearest_neighbor").float(),
        episodes("nearest_neighbor")[0].to(torch.float32),
    )
    with pytest.raises(
        OSError, match=r"/proc/graphfew/model.onnx cannot be written \(.*free disk space"
    ):
        gf.export.to_onnx(model, episode, "/proc/graphfew/model")


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"onnx is not installed.*graphfew\[onnx\]"):
        gf.export.to_onnx(
            identity_model("nearest_neighbor"), episodes("nearest_neighbor")[0], tmp_path / "model"
        )


def test_elimination_solves_what_methods_solve():
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(3, 12, 12, generator=generator, dtype=torch.float64)
    system = torch.eye(12, dtype=torch.float64) - 0.99 * weights / weights.sum(2, keepdim=True)
    right = torch.rand(3, 12, 4, generator=generator, dtype=torch.float64)
    assert torch.allclose(
        decompositions.solve(system, right), torch.linalg.solve(system, right), rtol=1e-9
    )
    assert torch.allclose(decompositions.inverse(system), torch.linalg.inv(system), rtol=1e-9)


def test_plainer_functions_are_torch_s():
    generator = torch.Generator().manual_seed(0)
    rows, ptr = torch.randn(9, 3, generator=generator), torch.tensor([0, 2, 3, 9])
    expected = torch.segment_reduce(rows, "max", offsets=ptr, axis=0)
    assert torch.equal(decompositions.segment_reduce(rows, "max", offsets=ptr), expected)
    sums = torch.stack([rows[a:b].sum(0) for a, b in itertools.pairwise(ptr)])
    assert torch.allclose(decompositions.segment_sum(rows, ptr), sums)
    index = torch.tensor([[2, 0], [1, 1]])
    assert torch.equal(decompositions.one_hot(index, 4), nn.functional.one_hot(index, 4))
