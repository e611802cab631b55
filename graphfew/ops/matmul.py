"""Products of many rows with a small matrix, by whichever of torch's two libraries is quick on this processor.

MKL, behind `linear`, runs at half of oneDNN's rate on processors that are not Intel's (`benchmarks/speed/egnn.py` has
both, for one large product); oneDNN is behind `conv2d`. On Intel's they are alike.
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
    """`rows @ weight.T + bias`."""
    plain = (
        rows.dtype != torch.float32 or rows.device.type != "cpu" or torch.compiler.is_compiling()
    )
    return (
        F.linear(rows, weight, bias)
        if plain or not prefers_convolution()
        else conv_linear(rows, weight, bias)
    )


def conv_linear(
    rows: Float[Tensor, "P K"],
    weight: Float[Tensor, "W K"],
    bias: Float[Tensor, " W"] | None = None,
) -> Float[Tensor, "P W"]:
    """The same, the rows being the pixels of one channels-last image; a single column is no work for it."""
    if len(weight) == 1:
        return F.linear(rows, weight, bias)
    image = F.conv2d(rows[None, :, None, :].permute(0, 3, 1, 2), weight[:, :, None, None], bias)
    return image.permute(0, 2, 3, 1).reshape(len(rows), len(weight))


@cache
def prefers_convolution() -> bool:
    """Whether this is another maker's x86 processor and torch has both libraries; asked of Linux, else unknown: no."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    vendor = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), INTEL
    )
    return vendor != INTEL and bool(torch._C.has_mkl) and bool(torch._C._has_mkldnn)
