"""Exported programs predict as their models, for other items and labels too; errors say why."""

import copy
import functools
import importlib
import importlib.util
import itertools

import pytest
import torch
from episodes import DIM, identity_model, task
from torch import nn

import graphfew as gf
from graphfew.export import decompositions

# Methods with many iterations become thousands of operators; a few iterations have all kinds.
FEW_STEPS = {
    "alpha_tim": {"steps": 2},
    "dpgn": {"generations": 2},
    "tim": {"steps": 2},
    # Followed by one more assignment of the nodes.
    "pool_prototypes": {"num_iterations": 1},
    "pt_map": {"num_iterations": 2},
    "bpa": {"num_iterations": 2},
    "em_dirichlet": {"num_iterations": 2, "mm_steps": 3},
    "hard_em_dirichlet": {"num_iterations": 2, "mm_steps": 3},
    "paddle": {"num_iterations": 2},
    "stata": {"num_iterations": 2},
    "propagated_prototypes": {"num_iterations": 2},
    "meta_lstm": {"steps": 2},
    "attention_attractor": None,
    "imaml": None,
}
NOT_EXPORTABLE = {
    "linear_head": "values leave torch",
    # Iterations until convergence.
    "metaoptnet_svm": "depends on the items' values",
    "matching_fce": "depends on the items' values",
    # Connected components, and iterations until a tolerance is reached.
    "poisson": "depends on the items' values",
    "poisson_mbo": "depends on the items' values",
    "poisson_reweighted": "depends on the items' values",
    "wnll": "depends on the items' values",
}
# ONNX has no digamma function.
NO_ONNX = ("em_dirichlet", "hard_em_dirichlet")
EXPORTED = [
    (name, mode)
    for name, method in sorted(gf.METHODS.items())
    if name not in NOT_EXPORTABLE and FEW_STEPS.get(name, {}) is not None
    for mode in (
        ["transductive", "inductive"] if method.inductive and method.transductive else ["its mode"]
    )
]
# Methods without training, EGNN and two more; the others are covered by the exported programs.
ONNX_CASES = [
    case
    for case in EXPORTED
    if (gf.METHODS[case[0]].loss is None or case[0] in ("egnn", "prototypical", "multi_metric"))
    and case[0] not in NO_ONNX
]


@pytest.fixture(scope="module", autouse=True)
def onnx_operators_are_read_once():
    """Cache torch's table of ONNX operators, which takes a third of the time of each export."""
    if importlib.util.find_spec("onnxscript") is None:
        yield
        return
    from torch.onnx._internal.exporter import _registration

    registry = _registration.ONNXRegistry
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            registry, "from_torchlib", staticmethod(functools.cache(registry.from_torchlib))
        )
        yield


def arguments(name, mode="its mode"):
    method = gf.METHODS[name]
    return {
        **({} if mode == "its mode" else {"transductive": mode == "transductive"}),
        **(FEW_STEPS.get(name) or {}),
        **({"way": 3} if method.fixed_way else {}),
        **({"shot": 2} if method.fixed_shot else {}),
    }


def episodes(name):
    """Two tasks of different sizes, and two of the same sizes with permuted labels."""
    unlabeled = 2 if gf.METHODS[name].unlabeled else 0
    first = gf.collate([task(1, 3, (2,), 4, unlabeled), task(2, 3, (2,), 3, unlabeled)])
    return first, permuted(first, seed=5, permute=not gf.METHODS[name].node_order_matters)


def permuted(episode, seed, permute=True):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(episode.x.shape, generator=generator, dtype=episode.x.dtype)
    y = episode.y.clone()
    for number in range(episode.n_tasks if permute else 0):
        nodes = torch.nonzero((episode.task == number) & ~episode.query).flatten()
        y[nodes] = y[nodes[torch.randperm(len(nodes), generator=generator)]]
    return gf.Episode(x, y, episode.query, episode.sizes, episode.way)


@pytest.mark.parametrize(("name", "mode"), EXPORTED)
def test_program_predicts_as_its_model(name, mode):
    model = identity_model(name, **arguments(name, mode))
    first, second = episodes(name)
    before = copy.deepcopy(model.state_dict())
    program = gf.export.export_program(model, first).module()
    with gf.nn.eval_mode(model):
        for episode in (first, second):
            expected, logits = model(episode).logits, program(episode.x, episode.y)
            assert torch.allclose(expected, logits, rtol=1e-9, atol=1e-9)
        assert not torch.allclose(program(first.x, first.y), program(second.x, first.y))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("name", "message"), NOT_EXPORTABLE.items())
def test_reason_is_given_if_a_method_cannot_be_exported(name, message):
    with pytest.raises(ValueError, match=f"{name} cannot be exported.*{message}"):
        gf.export.export_program(identity_model(name), episodes(name)[0])


@pytest.mark.parametrize("name", ["label_propagation", "label_spreading"])
def test_iterative_solvers_of_large_tasks_are_rejected(name, monkeypatch):
    monkeypatch.setattr(
        importlib.import_module("graphfew.methods._propagation_graph"), "DENSE_NODES", 5
    )
    with pytest.raises(ValueError, match="depends on the items' values"):
        gf.export.export_program(identity_model(name), episodes(name)[0].take([0]))


@pytest.mark.parametrize("name", ["pt_map", "propagated_prototypes", "tim"])
def test_balanced_queries_are_rejected_or_exported(name):
    model = identity_model(name, **arguments(name), balanced=True)
    if name == "tim":
        gf.export.export_program(model, episodes(name)[0])
    else:
        with pytest.raises(ValueError, match="depends on the items' values"):
            gf.export.export_program(model, episodes(name)[0])


@pytest.mark.parametrize("name", NO_ONNX)
def test_methods_without_onnx_operators_are_rejected(name, tmp_path):
    pytest.importorskip("onnxscript")
    model = gf.create(name, encoder=gf.backbones.identity(DIM), **arguments(name))
    episode = episodes(name)[0].take([0]).to(torch.float32)
    with pytest.raises(gf.errors.InvalidInputError, match="ONNX has no operator"):
        gf.export.to_onnx(model, episode, tmp_path / "model")


@pytest.mark.parametrize(("name", "mode"), ONNX_CASES)
def test_onnx_file_predicts_as_its_model(name, mode, tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = gf.create(name, encoder=gf.backbones.identity(DIM), **arguments(name, mode))
    # Two tasks of different sizes for EGNN; one task for the others, whose solves are long programs.
    tasks = [0, 1] if name == "egnn" else [0]
    first, second = (episode.take(tasks).to(torch.float32) for episode in episodes(name))
    path = gf.export.to_onnx(model, first, tmp_path / "folder" / "model")
    assert path == tmp_path / "folder" / "model.onnx"
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(str(path))
    with gf.nn.eval_mode(model):
        for episode in (first, second):
            (logits,) = session.run(["logits"], {"x": episode.x.numpy(), "y": episode.y.numpy()})
            expected = model(episode).logits
            assert torch.allclose(
                expected,
                torch.from_numpy(logits),
                rtol=1e-3,
                atol=1e-4 * float(expected.abs().max()),
            )


def images(seed):
    first = task(seed, 3, (2,), 4)
    x = torch.rand(len(first.y), 1, 28, 28, generator=torch.Generator().manual_seed(seed))
    return gf.Episode.single(x, first.y, first.query, 3)


def test_encoder_is_exported(tmp_path):
    model = gf.create("prototypical", encoder=gf.backbones.conv4(width=8))
    first, second = images(1), permuted(images(1), 2)
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
    (logits,) = session.run(None, {"x": second.x.numpy(), "y": second.y.numpy()})
    with gf.nn.eval_mode(model):
        assert torch.allclose(model(second).logits, torch.from_numpy(logits), rtol=1e-3, atol=1e-3)


def test_weights_keep_their_names_and_require_gradients_again():
    model = gf.create("egnn", encoder=gf.backbones.identity(DIM), width=6).double()
    program = gf.export.export_program(model, episodes("egnn")[0])
    names = {name.rpartition(".")[2] for name in program.state_dict}
    assert "layers_0_node_net_1_norm_weight" in names
    assert all(weight.requires_grad for weight in model.parameters())
    assert model.training


@pytest.mark.parametrize(
    "invalidate",
    [
        lambda y, e: y.masked_fill(e.query, 0),
        lambda y, e: torch.where(y == 0, 1, y),
        lambda y, e: torch.where((y == 0) & ~e.query, -1, y),
        lambda y, e: torch.where(y == 0, 3, y),
        lambda y, e: torch.where(y == 0, -2, y),
    ],
    ids=["a labeled query", "another class", "no label", "class 3", "-2"],
)
def test_invalid_labels_give_nan(invalidate):
    first, _ = episodes("egnn")
    program = gf.export.export_program(identity_model("egnn", width=6), first).module()
    assert program(first.x, invalidate(first.y, first)).isnan().all()
    assert program(first.x, first.y).isfinite().all()


def test_order_dependent_method_has_fixed_labels():
    first, _ = episodes("hybrid_attention")
    program = gf.export.export_program(identity_model("hybrid_attention", shot=2), first).module()
    nodes = torch.nonzero(first.y >= 0).flatten()
    reversed_labels = first.y.clone()
    reversed_labels[nodes] = first.y[nodes.flip(0)]
    assert program(first.x, reversed_labels).isnan().all()


def test_rejected_episodes_raise_the_error_of_the_model():
    with pytest.raises(ValueError, match="unlabeled"):
        gf.export.export_program(identity_model("prototypical"), episodes("egnn")[0])


class MemoryReader(nn.Module):
    """Reads the memory of its items without an operator."""

    def forward(self, x):
        return x + torch.frombuffer(bytearray(bytes(x.untyped_storage())), dtype=x.dtype).view_as(x)


def test_wrong_programs_are_not_returned():
    model = gf.create("prototypical", encoder=MemoryReader(), dim=DIM).double()
    with pytest.raises(RuntimeError, match="is off by"):
        gf.export.export_program(model, episodes("prototypical")[0])


@pytest.mark.parametrize(
    "forward",
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
def test_data_dependent_computation_is_rejected(forward):
    encoder = nn.Identity()
    encoder.forward = forward
    with pytest.raises(ValueError, match="cannot be exported"):
        gf.export.export_program(
            gf.create("prototypical", encoder=encoder, dim=DIM).double(),
            episodes("prototypical")[0],
        )


def test_failed_conversion_leaves_the_previous_file(tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    (tmp_path / "model.onnx").write_text("old")

    def fail(*_, **__):
        raise RuntimeError("no operator")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(ValueError, match="no operator"):
        gf.export.to_onnx(
            identity_model("nearest_neighbor"), episodes("nearest_neighbor")[0], tmp_path / "model"
        )
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_unwritable_paths_are_named():
    pytest.importorskip("onnxscript")
    model, episode = (
        identity_model("nearest_neighbor").float(),
        episodes("nearest_neighbor")[0].to(torch.float32),
    )
    with pytest.raises(
        OSError, match=r"/proc/graphfew/model.onnx cannot be written \(.*free disk space"
    ):
        gf.export.to_onnx(model, episode, "/proc/graphfew/model")


def test_missing_dependencies_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"onnx is not installed.*graphfew\[onnx\]"):
        gf.export.to_onnx(
            identity_model("nearest_neighbor"), episodes("nearest_neighbor")[0], tmp_path / "model"
        )


def test_elimination_matches_linalg():
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(3, 12, 12, generator=generator, dtype=torch.float64)
    system = torch.eye(12, dtype=torch.float64) - 0.99 * weights / weights.sum(2, keepdim=True)
    right = torch.rand(3, 12, 4, generator=generator, dtype=torch.float64)
    assert torch.allclose(
        decompositions.solve(system, right), torch.linalg.solve(system, right), rtol=1e-9
    )
    assert torch.allclose(decompositions.inverse(system), torch.linalg.inv(system), rtol=1e-9)


def test_decompositions_match_torch():
    generator = torch.Generator().manual_seed(0)
    rows, ptr = torch.randn(9, 3, generator=generator), torch.tensor([0, 2, 3, 9])
    expected = torch.segment_reduce(rows, "max", offsets=ptr, axis=0)
    assert torch.equal(decompositions.segment_reduce(rows, "max", offsets=ptr), expected)
    sums = torch.stack([rows[a:b].sum(0) for a, b in itertools.pairwise(ptr)])
    assert torch.allclose(decompositions.segment_sum(rows, ptr), sums)
    index = torch.tensor([[2, 0], [1, 1]])
    assert torch.equal(decompositions.one_hot(index, 4), nn.functional.one_hot(index, 4))
