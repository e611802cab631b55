"""Triton kernels of the fused pairwise MLP, from the features of two nodes to one number.

The rows of a pair never reach global memory: a program takes a block of `PAIRS` pairs through all
linear layers. Registers hold the outputs of the first and third layer completely, so their widths
`W1` and `W3` are padded to powers of two, which `tl.arange` needs. The second and fourth layer are
computed, consumed and dropped one chunk of `CHUNK` columns at a time, so their widths need only be
multiples of it.

Weights are stored as `[in, out]`, padded with zeros: the columns of a chunk are contiguous. Layers
beyond `DEPTH` are never read, so any pointer will do. `DTYPE` is the type of the factors of matrix
products; sums are float32. Arguments in capitals are compile-time constants.
"""

from __future__ import annotations

import triton
import triton.language as tl

from graphfew.ops.triton_backward import (
    first_layer_backward,
    last_layer_backward,
    middle_layers_backward,
    output_grad,
)
from graphfew.ops.triton_forward import (
    first_layer,
    last_layer,
    leaky_relu,
    load_pairs,
    middle_layers,
    store_moments,
)


@triton.jit
def forward(
    x,
    one,
    other,
    w1,
    b1,
    w2,
    b2,
    w3,
    b3,
    w4,
    b4,
    tail,
    out,
    pairs,
    IN: tl.constexpr,
    W1: tl.constexpr,
    W2: tl.constexpr,
    W3: tl.constexpr,
    W4: tl.constexpr,
    DEPTH: tl.constexpr,
    OUTPUT: tl.constexpr,
    SLOPE: tl.constexpr,
    PAIRS: tl.constexpr,
    CHUNK: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Compute the first `DEPTH` linear layers of each pair.

    With `OUTPUT`, each layer is followed by its activation, and the products of the rows with
    `tail` are stored, `out [pairs]`. Without, the moments of the last layer before its activation
    are stored, `out [blocks, 2, width]`; they give the statistics of its batch norm.
    """
    pid = tl.program_id(0)
    row, i, j, inside = load_pairs(one, other, pairs, pid * PAIRS, PAIRS)
    block_out = out
    if not OUTPUT:
        block_out = out + pid * 2 * (
            W1 if DEPTH == 1 else (W2 if DEPTH == 2 else (W3 if DEPTH == 3 else W4))
        )
    z = first_layer(x, i, j, w1, b1, IN, W1, PAIRS, CHUNK, DTYPE, PRECISION)
    if DEPTH > 2:
        z = middle_layers(
            leaky_relu(z, SLOPE).to(DTYPE),
            w2,
            b2,
            w3,
            b3,
            W1,
            W2,
            W3,
            PAIRS,
            CHUNK,
            SLOPE,
            DTYPE,
            PRECISION,
        )
    if DEPTH == 2:
        last_layer(
            leaky_relu(z, SLOPE).to(DTYPE),
            w2,
            b2,
            tail,
            block_out,
            row,
            inside,
            W1,
            W2,
            OUTPUT,
            PAIRS,
            CHUNK,
            SLOPE,
            PRECISION,
        )
    elif DEPTH == 4:
        last_layer(
            leaky_relu(z, SLOPE).to(DTYPE),
            w4,
            b4,
            tail,
            block_out,
            row,
            inside,
            W3,
            W4,
            OUTPUT,
            PAIRS,
            CHUNK,
            SLOPE,
            PRECISION,
        )
    else:
        columns = tl.arange(0, W1 if DEPTH == 1 else W3)
        if OUTPUT:
            tl.store(
                block_out + row,
                tl.sum(leaky_relu(z, SLOPE) * tl.load(tail + columns)[None, :], 1),
                mask=inside,
            )
        else:
            store_moments(z, inside, block_out, columns, W1 if DEPTH == 1 else W3)


@triton.jit
def backward(
    x,
    one,
    other,
    w1,
    b1,
    w2,
    b2,
    w3,
    b3,
    w4,
    b4,
    tail,
    grad,
    d_x,
    d_w1,
    d_b1,
    d_w2,
    d_b2,
    d_w3,
    d_b3,
    d_w4,
    d_b4,
    d_tail,
    pairs,
    stride,
    IN: tl.constexpr,
    W1: tl.constexpr,
    W2: tl.constexpr,
    W3: tl.constexpr,
    W4: tl.constexpr,
    DEPTH: tl.constexpr,
    OUTPUT: tl.constexpr,
    SLOPE: tl.constexpr,
    PAIRS: tl.constexpr,
    CHUNK: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Compute the gradients of `forward`, whose rows are recomputed.

    `grad` is `[pairs]` with `OUTPUT`; otherwise see `output_grad`. Each program adds the gradients
    of the weights to its own buffer, `stride` numbers after that of the program before; the caller
    sums the buffers. All programs add to the same `d_x`.
    """
    pid = tl.program_id(0)
    shift = pid.to(tl.int64) * stride
    d_w1, d_b1, d_w2, d_b2, d_w3 = (
        d_w1 + shift,
        d_b1 + shift,
        d_w2 + shift,
        d_b2 + shift,
        d_w3 + shift,
    )
    d_b3, d_w4, d_b4, d_tail = d_b3 + shift, d_w4 + shift, d_b4 + shift, d_tail + shift
    # Each program takes every num_programs-th block, so that there are few weight buffers.
    for start in range(pid * PAIRS, pairs, tl.num_programs(0) * PAIRS):
        row, i, j, inside = load_pairs(one, other, pairs, start, PAIRS)
        grad_in = grad
        if OUTPUT:
            grad_in = tl.load(grad + row, mask=inside, other=0.0)
        z = first_layer(x, i, j, w1, b1, IN, W1, PAIRS, CHUNK, DTYPE, PRECISION)
        if DEPTH == 1:
            d_z = output_grad(z, inside, grad_in, d_tail, tail, tl.arange(0, W1), W1, OUTPUT, SLOPE)
        else:
            h1 = leaky_relu(z, SLOPE).to(DTYPE)
            if DEPTH == 2:
                d_z = last_layer_backward(
                    h1,
                    w2,
                    b2,
                    grad_in,
                    d_w2,
                    d_b2,
                    d_tail,
                    tail,
                    inside,
                    W1,
                    W2,
                    OUTPUT,
                    PAIRS,
                    CHUNK,
                    SLOPE,
                    DTYPE,
                    PRECISION,
                )
            else:
                z3 = middle_layers(
                    h1, w2, b2, w3, b3, W1, W2, W3, PAIRS, CHUNK, SLOPE, DTYPE, PRECISION
                )
                if DEPTH == 3:
                    d_z3 = output_grad(
                        z3, inside, grad_in, d_tail, tail, tl.arange(0, W3), W3, OUTPUT, SLOPE
                    )
                else:
                    d_z3 = last_layer_backward(
                        leaky_relu(z3, SLOPE).to(DTYPE),
                        w4,
                        b4,
                        grad_in,
                        d_w4,
                        d_b4,
                        d_tail,
                        tail,
                        inside,
                        W3,
                        W4,
                        OUTPUT,
                        PAIRS,
                        CHUNK,
                        SLOPE,
                        DTYPE,
                        PRECISION,
                    )
                d_z = middle_layers_backward(
                    h1,
                    d_z3,
                    w2,
                    b2,
                    w3,
                    d_w2,
                    d_b2,
                    d_w3,
                    d_b3,
                    W1,
                    W2,
                    W3,
                    PAIRS,
                    CHUNK,
                    SLOPE,
                    DTYPE,
                    PRECISION,
                )
        first_layer_backward(
            x, i, j, d_z, w1, d_x, d_w1, d_b1, inside, IN, W1, CHUNK, DTYPE, PRECISION
        )
