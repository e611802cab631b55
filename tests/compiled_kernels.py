"""Print the shared memory in KiB of the fused kernels, compiled for GPUs without one, as JSON.

A separate process for `test_fused_pair_mlp.py`, without Triton's interpreter.
"""

import json
import sys

import torch
from triton import compile
from triton import language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from graphfew.nn import _pair_kernel
from graphfew.ops import triton_pair_mlp as kernels

WIDTHS = {
    "IN": 96,
    "W1": 256,
    "W2": 192,
    "W3": 128,
    "W4": 96,
    "DEPTH": 4,
    "OUTPUT": True,
    "SLOPE": 0.01,
    "CHUNK": _pair_kernel.COLUMN_BLOCK,
    "PRECISION": "tf32",
}
KINDS = {torch.float32: (tl.float32, "fp32"), torch.bfloat16: (tl.bfloat16, "bf16")}


def argument(name, kind):
    if name in ("one", "other"):
        return "*i64"
    if name in ("pairs", "stride"):
        return "i32"
    return f"*{kind}" if name in ("w1", "w2", "w3", "w4") else "*fp32"


def shared(kernel, kind, pairs, capability):
    low, name = KINDS[kind]
    constants = {**WIDTHS, "PAIRS": pairs, "DTYPE": low}
    signature = {n: "constexpr" if n in constants else argument(n, name) for n in kernel.arg_names}
    built = compile(
        ASTSource(kernel, signature, constants),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": _pair_kernel.NUM_WARPS, "num_stages": _pair_kernel.NUM_STAGES},
    )
    return built.metadata.shared / 1024


if __name__ == "__main__":
    out = {}
    for capability in (80, 90):
        for kind, (_, name) in KINDS.items():
            out[f"forward {name} {capability}"] = shared(
                kernels.forward, kind, _pair_kernel.PAIRS_PER_BLOCK[kind], capability
            )
            out[f"backward {name} {capability}"] = shared(
                kernels.backward, kind, _pair_kernel.BACKWARD_PAIRS_PER_BLOCK, capability
            )
    json.dump(out, sys.stdout)
