"""A product is the same by either of torch's libraries, and which one is taken hangs on the processor alone."""

from pathlib import Path

import pytest
import torch
from episodes import identity_model, task

import graphfew as gf
from graphfew.ops import matmul


@pytest.fixture
def forget():
    matmul.prefers_convolution.cache_clear()
    yield
    matmul.prefers_convolution.cache_clear()


@pytest.mark.parametrize("shape", [(70, 20, 12), (1, 20, 12), (70, 1, 12), (70, 20, 1)])
def test_a_convolution_of_pixels_is_the_product_forward_and_backward(shape):
    rows, inputs, outputs = shape
    generator = torch.Generator().manual_seed(0)
    given = [
        torch.randn(size, generator=generator)
        for size in ((rows, inputs), (outputs, inputs), (outputs,))
    ]
    found = []
    for product in (torch.nn.functional.linear, matmul.conv_linear):
        own = [value.clone().requires_grad_() for value in given]
        out = product(*own)
        out.square().sum().backward()
        found.append([out.detach(), *(value.grad for value in own)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("vendor", "wanted"), [("GenuineIntel", False), ("AuthenticAMD", True)])
def test_the_processor_s_maker_decides(vendor, wanted, monkeypatch, forget):
    monkeypatch.setattr(
        Path, "read_text", lambda *_, **__: f"processor : 0\nvendor_id\t: {vendor}\n"
    )
    assert matmul.prefers_convolution() is (wanted and torch._C.has_mkl and torch._C._has_mkldnn)


def test_a_processor_that_is_not_told_takes_the_plain_way(monkeypatch, forget):
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "Processor : ARMv8\n")
    assert matmul.prefers_convolution() is False


@pytest.mark.parametrize("training", [True, False])
def test_a_model_gives_the_same_either_way(training, monkeypatch):
    episode = gf.collate([task(1, 3, (2,), 4), task(2, 3, (2,), 4)]).to(torch.float32)
    model = identity_model("egnn", width=12).float().train(training)
    found = []
    for way in (True, False):
        monkeypatch.setattr(matmul, "by_convolution", lambda way=way: way)
        monkeypatch.setattr("graphfew.nn.pair_mlp.by_convolution", lambda way=way: way)
        with torch.set_grad_enabled(training):
            found.append(model(episode).logits)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)
