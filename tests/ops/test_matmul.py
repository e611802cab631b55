"""Both matmul libraries give the same results; the processor decides which one is used."""

from pathlib import Path

import pytest
import torch
from episodes import identity_model, task

import graphfew as gf
from graphfew.ops import matmul


@pytest.fixture
def clear_cache():
    matmul.prefers_convolution.cache_clear()
    yield
    matmul.prefers_convolution.cache_clear()


@pytest.mark.parametrize("shape", [(70, 20, 12), (1, 20, 12), (70, 1, 12), (70, 20, 1)])
def test_conv_linear_is_linear_forward_and_backward(shape):
    n_rows, n_in, n_out = shape
    generator = torch.Generator().manual_seed(0)
    values = [
        torch.randn(size, generator=generator) for size in ((n_rows, n_in), (n_out, n_in), (n_out,))
    ]
    results = []
    for fn in (torch.nn.functional.linear, matmul.conv_linear):
        leaves = [value.clone().requires_grad_() for value in values]
        out = fn(*leaves)
        out.square().sum().backward()
        results.append([out.detach(), *(value.grad for value in leaves)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("vendor", "expected"), [("GenuineIntel", False), ("AuthenticAMD", True)])
def test_processor_vendor_decides(vendor, expected, monkeypatch, clear_cache):
    monkeypatch.setattr(
        Path, "read_text", lambda *_, **__: f"processor : 0\nvendor_id\t: {vendor}\n"
    )
    assert matmul.prefers_convolution() is (expected and torch._C.has_mkl and torch._C._has_mkldnn)


def test_unknleaves_processor_uses_linear(monkeypatch, clear_cache):
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "Processor : ARMv8\n")
    assert matmul.prefers_convolution() is False


@pytest.mark.parametrize("training", [True, False])
def test_model_is_equal_with_both_libraries(training, monkeypatch):
    episode = gf.collate([task(1, 3, (2,), 4), task(2, 3, (2,), 4)]).to(torch.float32)
    model = identity_model("egnn", width=12).float().train(training)
    results = []
    for use_conv in (True, False):
        monkeypatch.setattr(matmul, "prefers_convolution", lambda use_conv=use_conv: use_conv)
        monkeypatch.setattr(
            "graphfew.nn.pair_mlp.prefers_convolution", lambda use_conv=use_conv: use_conv
        )
        with torch.set_grad_enabled(training):
            results.append(model(episode).logits)
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)
