"""The fused kernel against the plain path: on a GPU where there is one, else in Triton's interpreter on the CPU."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from episodes import identity_model, task

import graphfew as gf
from graphfew.nn.fused_pair_mlp import fused_pair_values
from graphfew.nn.layers import RowNorm, blocks
from graphfew.nn.pair_mlp import PairMLP

pytest.importorskip("triton")
HERE = Path(__file__).parents[1]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
METHODS = {
    "egnn": {"layers": 2, "width": 12, "pull": None},
    "gnn": {"way": 3, "width": 20, "growth": 8},
}


def two_models(name, **changes):
    torch.manual_seed(3)
    model = identity_model(name, **{**METHODS[name], **changes}).float()
    for norm in (m.norm for m in model.modules() if isinstance(m, RowNorm)):
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return model.to(DEVICE), copy.deepcopy(model).to(DEVICE)


def batch(*queries):
    return gf.collate([task(seed, 3, (2,), q) for seed, q in enumerate(queries)]).to(
        DEVICE, torch.float32
    )


def relative(one, other):
    return float((one - other).abs().max() / other.abs().max().clamp_min(1e-6))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("queries", [(4, 4), (1, 5)], ids=["equal", "ragged"])
@pytest.mark.parametrize("transductive", [True, False])
def test_fused_logits_equal_plain(name, queries, transductive):
    plain, fused = (m.eval() for m in two_models(name, transductive=transductive))
    episode = batch(*queries) if transductive else batch(*queries).inductive()
    with torch.no_grad(), gf.nn.fused_kernels(fused):
        whole, short = fused.forward_encoded(episode).logits, fused.predict_logits(episode)
        expected = plain.forward_encoded(episode).logits
    torch.testing.assert_close(whole, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(short, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("queries", [(4, 4), (1, 5)], ids=["equal", "ragged"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_fused_gradients_and_statistics_equal_plain(name, queries, training):
    plain, fused = (m.train(training) for m in two_models(name, transductive=True))
    gradients = []
    for model in (plain, fused):
        episode = batch(*queries)
        episode.x.requires_grad_()
        with gf.nn.fused_kernels(fused):
            model(episode).logits.square().sum().backward()
        gradients.append(
            {**{n: p.grad for n, p in model.named_parameters()}, "nodes": episode.x.grad}
        )
    scale = max(float(g.abs().max()) for g in gradients[0].values())
    assert scale > 0.1
    for key, expected in gradients[0].items():
        torch.testing.assert_close(
            gradients[1][key], expected, rtol=2e-3, atol=2e-5 * scale, msg=key
        )
    for (key, one), other in zip(plain.named_buffers(), fused.buffers(), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_one_to_four_hidden_layers_over_several_blocks(depth, training):
    """70 pairs are three blocks, the last one not full; widths are no powers of two."""
    widths = (9, 20, 37, 18, 40)[: depth + 1]
    torch.manual_seed(depth)
    net = (
        PairMLP(*blocks(widths, bias=True), torch.nn.Linear(widths[-1], 1))
        .train(training)
        .to(DEVICE)
    )
    other = copy.deepcopy(net)
    one, two = torch.randint(0, 12, (2, 70), device=DEVICE)
    nodes = [x.requires_grad_() for x in torch.randn(12, 9, device=DEVICE).repeat(2, 1, 1).unbind()]
    weight = torch.randn(70, 1, device=DEVICE)
    expected = net((nodes[0][one] - nodes[0][two]).abs())
    got = fused_pair_values(other, nodes[1], one, two)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    (expected * weight).sum().backward()
    (got * weight).sum().backward()
    assert relative(nodes[1].grad, nodes[0].grad) < 1e-3
    for p, q in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(
            q.grad, p.grad, rtol=2e-3, atol=2e-4 * float(nodes[0].grad.abs().max())
        )


def test_fused_products_follow_autocast():
    plain, fused = (m.eval() for m in two_models("egnn", transductive=True))
    episode = batch(4, 4)
    with torch.no_grad(), gf.nn.fused_kernels(fused):
        exact = plain(episode).logits
        with torch.autocast(DEVICE, torch.bfloat16):
            apart, usual = (
                float((m(episode).logits.float() - exact).abs().mean()) for m in (fused, plain)
            )
    assert 0 < apart < 2 * usual


def test_float64_and_dropout_use_the_plain_path():
    plain, fused = (m.double() for m in two_models("egnn", transductive=True, p=0.5))
    episode = gf.collate([task(0, 3, (2,), 4)]).to(DEVICE, torch.float64)
    with gf.nn.fused_kernels(fused):
        torch.testing.assert_close(
            fused.eval()(episode).logits, plain.eval()(episode).logits, rtol=0, atol=1e-12
        )
        torch.manual_seed(0)
        one = fused.float().train()(episode.to(torch.float32)).logits
        torch.manual_seed(1)
        assert not torch.equal(fused(episode.to(torch.float32)).logits, one)


def test_fused_kernels_restore_the_model():
    model, _ = two_models("egnn")
    with pytest.raises(RuntimeError, match="stop"), gf.nn.fused_kernels(model):
        raise RuntimeError("stop")
    assert all(m.kernel is None for m in model.modules() if isinstance(m, PairMLP))


def test_models_without_pairwise_mlps_raise():
    model = gf.create("prototypical", encoder=gf.backbones.identity(4))
    with pytest.raises(ValueError, match="none: use EGNN or GNN"), gf.nn.fused_kernels(model):
        pass


def test_nodes_on_the_cpu_raise(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    model, _ = two_models("egnn")
    with gf.nn.fused_kernels(model), pytest.raises(ValueError, match="runs on a GPU"):
        model.cpu().eval()(batch(4).to("cpu"))


def test_kernels_compile_for_other_gpus():
    """Within a block's shared memory on A100 (163 KiB) and H100 (227 KiB), at EGNN's widths."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, str(HERE / "compiled_kernels.py")],
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(HERE.parent)},
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    shared = json.loads(run.stdout)
    assert len(shared) == 8
    assert all(0 < kib <= {80: 163, 90: 227}[int(name.split()[-1])] for name, kib in shared.items())
