"""Device functions of the fused pairwise MLP's forward pass; see `triton_pair_mlp`."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def leaky_relu(z, SLOPE: tl.constexpr):
    """Apply the activation."""
    return tl.where(z > 0, z, z * SLOPE)


@triton.jit
def load_pairs(one, other, pairs, start, PAIRS: tl.constexpr):
    """Load the two nodes of each pair of a block, and mask the rows after the last pair."""
    row = start + tl.arange(0, PAIRS)
    inside = row < pairs
    return (
        row,
        tl.load(one + row, mask=inside, other=0),
        tl.load(other + row, mask=inside, other=0),
        inside,
    )


@triton.jit
def load_weight(weight, rows, columns, WIDTH: tl.constexpr):
    """Load rows and columns of a weight `[in, out]` with `WIDTH` columns."""
    return tl.load(weight + rows[:, None] * WIDTH + columns[None, :])


@triton.jit
def first_layer(
    x,
    i,
    j,
    w1,
    b1,
    IN: tl.constexpr,
    W1: tl.constexpr,
    PAIRS: tl.constexpr,
    CHUNK: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Compute `|x_i - x_j|` and the first linear layer, `[PAIRS, W1]`."""
    # The differences exist one chunk of input channels at a time, in registers only.
    columns = tl.arange(0, W1)
    z = tl.zeros((PAIRS, W1), tl.float32) + tl.load(b1 + columns)[None, :]
    for start in range(0, IN, CHUNK):
        k = start + tl.arange(0, CHUNK)
        difference = tl.abs(
            tl.load(x + i[:, None] * IN + k[None, :]) - tl.load(x + j[:, None] * IN + k[None, :])
        )
        z = tl.dot(
            difference.to(DTYPE), load_weight(w1, k, columns, W1), z, input_precision=PRECISION
        )
    return z


@triton.jit
def middle_layers(
    h1,
    w2,
    b2,
    w3,
    b3,
    W1: tl.constexpr,
    W2: tl.constexpr,
    W3: tl.constexpr,
    PAIRS: tl.constexpr,
    CHUNK: tl.constexpr,
    SLOPE: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Compute the second and third linear layer, `[PAIRS, W1] -> [PAIRS, W3]`."""
    # A chunk of columns of the second layer is a chunk of input rows of the third, so it can be
    # consumed at once: the second layer is never complete.
    rows, columns = tl.arange(0, W1), tl.arange(0, W3)
    z = tl.zeros((PAIRS, W3), tl.float32) + tl.load(b3 + columns)[None, :]
    for start in range(0, W2, CHUNK):
        n = start + tl.arange(0, CHUNK)
        z2 = (
            tl.dot(h1, load_weight(w2, rows, n, W2), input_precision=PRECISION)
            + tl.load(b2 + n)[None, :]
        )
        z = tl.dot(
            leaky_relu(z2, SLOPE).to(DTYPE),
            load_weight(w3, n, columns, W3),
            z,
            input_precision=PRECISION,
        )
    return z


@triton.jit
def store_moments(z, inside, out, columns, WIDTH: tl.constexpr):
    """Store the mean over the block's pairs and the sum of squared deviations of each column."""
    # Deviations from the mean of the block, not raw squares, which would cancel in float32. The
    # caller merges the blocks in float64.
    count = tl.sum(inside.to(tl.float32), 0)
    mean = tl.sum(tl.where(inside[:, None], z, 0.0), 0) / count
    difference = tl.where(inside[:, None], z - mean[None, :], 0.0)
    tl.store(out + columns, mean)
    tl.store(out + WIDTH + columns, tl.sum(difference * difference, 0))


@triton.jit
def last_layer(
    h,
    weight,
    bias,
    tail,
    out,
    row,
    inside,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    OUTPUT: tl.constexpr,
    PAIRS: tl.constexpr,
    CHUNK: tl.constexpr,
    SLOPE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Compute and store the last linear layer if it is the second or fourth, chunk by chunk."""
    rows, output = tl.arange(0, ROWS), tl.zeros((PAIRS,), tl.float32)
    for start in range(0, WIDTH, CHUNK):
        n = start + tl.arange(0, CHUNK)
        z = (
            tl.dot(h, load_weight(weight, rows, n, WIDTH), input_precision=PRECISION)
            + tl.load(bias + n)[None, :]
        )
        if OUTPUT:
            output += tl.sum(leaky_relu(z, SLOPE) * tl.load(tail + n)[None, :], 1)
        else:
            store_moments(z, inside, out, n, WIDTH)
    if OUTPUT:
        tl.store(out + row, output, mask=inside)
