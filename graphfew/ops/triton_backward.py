"""Device functions of the fused pairwise MLP's backward pass; see `triton_pair_mlp`."""

from __future__ import annotations

import triton
import triton.language as tl

from graphfew.ops.triton_forward import leaky_relu, load_weight


@triton.jit
def leaky_relu_grad(grad, z, SLOPE: tl.constexpr):
    """Backpropagate through the activation; `z` is its input or output, which have equal sign."""
    return tl.where(z > 0, grad, grad * SLOPE)


@triton.jit
def output_grad(
    z,
    inside,
    grad,
    d_tail,
    tail,
    columns,
    WIDTH: tl.constexpr,
    OUTPUT: tl.constexpr,
    SLOPE: tl.constexpr,
):
    """Return the gradient at the output `z` of the last linear layer.

    With `OUTPUT`, `grad [PAIRS]` is the gradient of the network's output. Without, it holds the
    vectors `a` and `c`: the gradient through mean and variance is `a + c z`.
    """
    if OUTPUT:
        out = leaky_relu_grad(grad[:, None] * tl.load(tail + columns)[None, :], z, SLOPE)
        tl.atomic_add(d_tail + columns, tl.sum(grad[:, None] * leaky_relu(z, SLOPE), 0))
    else:
        out = tl.load(grad + columns)[None, :] + tl.load(grad + WIDTH + columns)[None, :] * z
    return tl.where(inside[:, None], out, 0.0)


@triton.jit
def add_weight_grad(to, rows, columns, values, WIDTH: tl.constexpr):
    """Add to the gradient of a weight `[in, out]`."""
    tl.atomic_add(to + rows[:, None] * WIDTH + columns[None, :], values)


@triton.jit
def first_layer_backward(
    x,
    i,
    j,
    dz,
    w1,
    d_x,
    d_w1,
    d_b1,
    inside,
    IN: tl.constexpr,
    W1: tl.constexpr,
    CHUNK: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Backpropagate through the first linear layer and the absolute differences."""
    columns = tl.arange(0, W1)
    tl.atomic_add(d_b1 + columns, tl.sum(dz, 0))
    d_z_low = dz.to(DTYPE)
    for start in range(0, IN, CHUNK):
        k = start + tl.arange(0, CHUNK)
        difference = tl.load(x + i[:, None] * IN + k[None, :]) - tl.load(
            x + j[:, None] * IN + k[None, :]
        )
        add_weight_grad(
            d_w1,
            k,
            columns,
            tl.dot(tl.trans(tl.abs(difference).to(DTYPE)), d_z_low, input_precision=PRECISION),
            W1,
        )
        d_h = tl.dot(d_z_low, tl.trans(load_weight(w1, k, columns, W1)), input_precision=PRECISION)
        d_h = tl.where(difference > 0, d_h, tl.where(difference < 0, -d_h, 0.0))
        # Several pairs, of several programs, share a node.
        tl.atomic_add(d_x + i[:, None] * IN + k[None, :], d_h, mask=inside[:, None])
        tl.atomic_add(d_x + j[:, None] * IN + k[None, :], -d_h, mask=inside[:, None])


@triton.jit
def last_layer_backward(
    h,
    weight,
    bias,
    grad_in,
    d_weight,
    d_bias,
    d_tail,
    tail,
    inside,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    OUTPUT: tl.constexpr,
    PAIRS: tl.constexpr,
    CHUNK: tl.constexpr,
    SLOPE: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Backpropagate through `last_layer`, to before the activation of its input."""
    rows, d_h = tl.arange(0, ROWS), tl.zeros((PAIRS, ROWS), tl.float32)
    for start in range(0, WIDTH, CHUNK):
        n = start + tl.arange(0, CHUNK)
        w = load_weight(weight, rows, n, WIDTH)
        z = tl.dot(h, w, input_precision=PRECISION) + tl.load(bias + n)[None, :]
        d_z = output_grad(z, inside, grad_in, d_tail, tail, n, WIDTH, OUTPUT, SLOPE)
        tl.atomic_add(d_bias + n, tl.sum(d_z, 0))
        d_z_low = d_z.to(DTYPE)
        add_weight_grad(
            d_weight, rows, n, tl.dot(tl.trans(h), d_z_low, input_precision=PRECISION), WIDTH
        )
        d_h = tl.dot(d_z_low, tl.trans(w), d_h, input_precision=PRECISION)
    return leaky_relu_grad(d_h, h, SLOPE)


@triton.jit
def middle_layers_backward(
    h1,
    d_z3,
    w2,
    b2,
    w3,
    d_w2,
    d_b2,
    d_w3,
    d_b3,
    W1: tl.constexpr,
    W2: tl.constexpr,
    W3: tl.constexpr,
    PAIRS: tl.constexpr,
    CHUNK: tl.constexpr,
    SLOPE: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Backpropagate through `middle_layers`, to before the activation of its input."""
    # The second layer is recomputed one chunk of columns at a time, as in the forward pass.
    rows, columns, d_h = tl.arange(0, W1), tl.arange(0, W3), tl.zeros((PAIRS, W1), tl.float32)
    tl.atomic_add(d_b3 + columns, tl.sum(d_z3, 0))
    d_z3_low = d_z3.to(DTYPE)
    for start in range(0, W2, CHUNK):
        n = start + tl.arange(0, CHUNK)
        weight2, weight3 = load_weight(w2, rows, n, W2), load_weight(w3, n, columns, W3)
        z2 = tl.dot(h1, weight2, input_precision=PRECISION) + tl.load(b2 + n)[None, :]
        h2 = leaky_relu(z2, SLOPE).to(DTYPE)
        add_weight_grad(
            d_w3, n, columns, tl.dot(tl.trans(h2), d_z3_low, input_precision=PRECISION), W3
        )
        d_z2 = leaky_relu_grad(
            tl.dot(d_z3_low, tl.trans(weight3), input_precision=PRECISION), h2, SLOPE
        )
        tl.atomic_add(d_b2 + n, tl.sum(d_z2, 0))
        d_z2_low = d_z2.to(DTYPE)
        add_weight_grad(
            d_w2, rows, n, tl.dot(tl.trans(h1), d_z2_low, input_precision=PRECISION), W2
        )
        d_h = tl.dot(d_z2_low, tl.trans(weight2), d_h, input_precision=PRECISION)
    return leaky_relu_grad(d_h, h1, SLOPE)
