"""Products of many rows with a small matrix, by the faster of torch's two CPU libraries.

`F.linear` calls MKL, which runs at half of oneDNN's rate on x86 processors of other vendors than
Intel (`benchmarks/speed/egnn.py` measures both). `F.conv2d` calls oneDNN. On Intel they are alike.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

INTEL = "GenuineIntel"


def linear(
    rows: Float[Tensor, "P K"],
    weight: Float[Tensor, "W K"],
    bias: Float[Tensor, " W"] | None = None,
) -> Float[Tensor, "P W"]:
    """Compute `rows @ weight.T + bias`."""
    is_float32_on_cpu = rows.dtype == torch.float32 and rows.device.type == "cpu"
    # A compiler chooses its own kernels, and could not trace the look at /proc/cpuinfo.
    if not is_float32_on_cpu or torch.compiler.is_compiling() or not prefers_convolution():
        return F.linear(rows, weight, bias)
    return conv_linear(rows, weight, bias)


def conv_linear(
    rows: Float[Tensor, "P K"],
    weight: Float[Tensor, "W K"],
    bias: Float[Tensor, " W"] | None = None,
) -> Float[Tensor, "P W"]:
    """Compute `rows @ weight.T + bias` as a 1x1 convolution."""
    # A convolution with a single output channel is slow.
    if len(weight) == 1:
        return F.linear(rows, weight, bias)
    # The rows are the pixels of one image `[1, K, P, 1]`. It is channels-last by its strides, so
    # neither the permutations nor the reshape copy.
    image = rows[None, :, None, :].permute(0, 3, 1, 2)
    out = F.conv2d(image, weight[:, :, None, None], bias)
    return out.permute(0, 2, 3, 1).reshape(len(rows), len(weight))


@cache
def prefers_convolution() -> bool:
    """Return whether this is a non-Intel x86 processor and torch has both libraries.

    The vendor is known on Linux only; elsewhere the result is False.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    vendor = INTEL
    for line in lines:
        if line.startswith("vendor_id"):
            vendor = line.partition(":")[2].strip()
            break
    return vendor != INTEL and bool(torch._C.has_mkl) and bool(torch._C._has_mkldnn)
