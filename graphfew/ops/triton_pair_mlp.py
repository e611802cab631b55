"""Triton kernels: a network of pairs from two rows of nodes to one number, its rows never written to memory.

A program takes a block of pairs through all maps. The first and third map's rows are held whole, their widths padded to
powers of two; the second and fourth map's are made, used and dropped a part at a time. Weights are laid out
`[in, out]`.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _leaky(z, SLOPE: tl.constexpr):
    return tl.where(z > 0, z, z * SLOPE)


@triton.jit
def _through(grad, z, SLOPE: tl.constexpr):
    """The gradient before the activation from the one after it; `z` is from either side, of one sign."""
    return tl.where(z > 0, grad, grad * SLOPE)


@triton.jit
def _block(one, other, pairs, start, PAIRS: tl.constexpr):
    """Both nodes of each pair of the block, and which of its rows are pairs."""
    row = start + tl.arange(0, PAIRS)
    inside = row < pairs
    return (
        row,
        tl.load(one + row, mask=inside, other=0),
        tl.load(other + row, mask=inside, other=0),
        inside,
    )


@triton.jit
def _matrix(weight, rows, columns, WIDTH: tl.constexpr):
    return tl.load(weight + rows[:, None] * WIDTH + columns[None, :])


@triton.jit
def _first(
    x,
    i,
    j,
    w1,
    b1,
    IN: tl.constexpr,
    W1: tl.constexpr,
    PAIRS: tl.constexpr,
    PART: tl.constexpr,
    KIND: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """`|x_i - x_j|` through the first map, `[PAIRS, W1]`."""
    columns = tl.arange(0, W1)
    z = tl.zeros((PAIRS, W1), tl.float32) + tl.load(b1 + columns)[None, :]
    for start in range(0, IN, PART):
        k = start + tl.arange(0, PART)
        apart = tl.abs(
            tl.load(x + i[:, None] * IN + k[None, :]) - tl.load(x + j[:, None] * IN + k[None, :])
        )
        z = tl.dot(apart.to(KIND), _matrix(w1, k, columns, W1), z, input_precision=PRECISION)
    return z


@triton.jit
def _third(
    h1,
    w2,
    b2,
    w3,
    b3,
    W1: tl.constexpr,
    W2: tl.constexpr,
    W3: tl.constexpr,
    PAIRS: tl.constexpr,
    PART: tl.constexpr,
    SLOPE: tl.constexpr,
    KIND: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The second and the third map, `[PAIRS, W1] -> [PAIRS, W3]`."""
    rows, columns = tl.arange(0, W1), tl.arange(0, W3)
    z = tl.zeros((PAIRS, W3), tl.float32) + tl.load(b3 + columns)[None, :]
    for start in range(0, W2, PART):
        n = start + tl.arange(0, PART)
        z2 = (
            tl.dot(h1, _matrix(w2, rows, n, W2), input_precision=PRECISION)
            + tl.load(b2 + n)[None, :]
        )
        z = tl.dot(
            _leaky(z2, SLOPE).to(KIND), _matrix(w3, n, columns, W3), z, input_precision=PRECISION
        )
    return z


@triton.jit
def _moments(z, inside, out, columns, WIDTH: tl.constexpr):
    """Mean over the block's pairs, and the sum of squares around it, of each column."""
    count = tl.sum(inside.to(tl.float32), 0)
    mean = tl.sum(tl.where(inside[:, None], z, 0.0), 0) / count
    apart = tl.where(inside[:, None], z - mean[None, :], 0.0)
    tl.store(out + columns, mean)
    tl.store(out + WIDTH + columns, tl.sum(apart * apart, 0))


@triton.jit
def _end(
    h,
    weight,
    bias,
    tail,
    out,
    row,
    inside,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    ANSWER: tl.constexpr,
    PAIRS: tl.constexpr,
    PART: tl.constexpr,
    SLOPE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The last map where it is the second or fourth, `[PAIRS, ROWS] -> [PAIRS, WIDTH]`, and what is written of it."""
    rows, answer = tl.arange(0, ROWS), tl.zeros((PAIRS,), tl.float32)
    for start in range(0, WIDTH, PART):
        n = start + tl.arange(0, PART)
        z = (
            tl.dot(h, _matrix(weight, rows, n, WIDTH), input_precision=PRECISION)
            + tl.load(bias + n)[None, :]
        )
        if ANSWER:
            answer += tl.sum(_leaky(z, SLOPE) * tl.load(tail + n)[None, :], 1)
        else:
            _moments(z, inside, out, n, WIDTH)
    if ANSWER:
        tl.store(out + row, answer, mask=inside)


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
    ANSWER: tl.constexpr,
    SLOPE: tl.constexpr,
    PAIRS: tl.constexpr,
    PART: tl.constexpr,
    KIND: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The first `DEPTH` maps.

    `ANSWER`: each is followed by its activation, and the rows' products with `tail` are written, `out [pairs]`.
    Otherwise the last map's `out [blocks, 2, width]`: see `_moments`.
    """
    pid = tl.program_id(0)
    row, i, j, inside = _block(one, other, pairs, pid * PAIRS, PAIRS)
    own = out
    if not ANSWER:
        own = out + pid * 2 * (
            W1 if DEPTH == 1 else (W2 if DEPTH == 2 else (W3 if DEPTH == 3 else W4))
        )
    z = _first(x, i, j, w1, b1, IN, W1, PAIRS, PART, KIND, PRECISION)
    if DEPTH > 2:
        z = _third(
            _leaky(z, SLOPE).to(KIND),
            w2,
            b2,
            w3,
            b3,
            W1,
            W2,
            W3,
            PAIRS,
            PART,
            SLOPE,
            KIND,
            PRECISION,
        )
    if DEPTH == 2:
        _end(
            _leaky(z, SLOPE).to(KIND),
            w2,
            b2,
            tail,
            own,
            row,
            inside,
            W1,
            W2,
            ANSWER,
            PAIRS,
            PART,
            SLOPE,
            PRECISION,
        )
    elif DEPTH == 4:
        _end(
            _leaky(z, SLOPE).to(KIND),
            w4,
            b4,
            tail,
            own,
            row,
            inside,
            W3,
            W4,
            ANSWER,
            PAIRS,
            PART,
            SLOPE,
            PRECISION,
        )
    else:
        columns = tl.arange(0, W1 if DEPTH == 1 else W3)
        if ANSWER:
            tl.store(
                own + row,
                tl.sum(_leaky(z, SLOPE) * tl.load(tail + columns)[None, :], 1),
                mask=inside,
            )
        else:
            _moments(z, inside, own, columns, W1 if DEPTH == 1 else W3)


@triton.jit
def _last(
    z,
    inside,
    grad,
    d_tail,
    tail,
    columns,
    WIDTH: tl.constexpr,
    ANSWER: tl.constexpr,
    SLOPE: tl.constexpr,
):
    """The gradient at the output of the last map.

    `ANSWER`: `grad [PAIRS]` is that of the answers. Otherwise it holds `a` and `c` of `a + c z`, each as wide as `z`.
    """
    if ANSWER:
        out = _through(grad[:, None] * tl.load(tail + columns)[None, :], z, SLOPE)
        tl.atomic_add(d_tail + columns, tl.sum(grad[:, None] * _leaky(z, SLOPE), 0))
    else:
        out = tl.load(grad + columns)[None, :] + tl.load(grad + WIDTH + columns)[None, :] * z
    return tl.where(inside[:, None], out, 0.0)


@triton.jit
def _add_matrix(to, rows, columns, values, WIDTH: tl.constexpr):
    tl.atomic_add(to + rows[:, None] * WIDTH + columns[None, :], values)


@triton.jit
def _back_first(
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
    PART: tl.constexpr,
    KIND: tl.constexpr,
    PRECISION: tl.constexpr,
):
    columns = tl.arange(0, W1)
    tl.atomic_add(d_b1 + columns, tl.sum(dz, 0))
    low = dz.to(KIND)
    for start in range(0, IN, PART):
        k = start + tl.arange(0, PART)
        apart = tl.load(x + i[:, None] * IN + k[None, :]) - tl.load(
            x + j[:, None] * IN + k[None, :]
        )
        _add_matrix(
            d_w1,
            k,
            columns,
            tl.dot(tl.trans(tl.abs(apart).to(KIND)), low, input_precision=PRECISION),
            W1,
        )
        down = tl.dot(low, tl.trans(_matrix(w1, k, columns, W1)), input_precision=PRECISION)
        down = tl.where(apart > 0, down, tl.where(apart < 0, -down, 0.0))
        tl.atomic_add(d_x + i[:, None] * IN + k[None, :], down, mask=inside[:, None])
        tl.atomic_add(d_x + j[:, None] * IN + k[None, :], -down, mask=inside[:, None])


@triton.jit
def _back_end(
    h,
    weight,
    bias,
    above,
    d_weight,
    d_bias,
    d_tail,
    tail,
    inside,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    ANSWER: tl.constexpr,
    PAIRS: tl.constexpr,
    PART: tl.constexpr,
    SLOPE: tl.constexpr,
    KIND: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """From the end back through the map of `_end`: the gradient of its rows before their activation."""
    rows, down = tl.arange(0, ROWS), tl.zeros((PAIRS, ROWS), tl.float32)
    for start in range(0, WIDTH, PART):
        n = start + tl.arange(0, PART)
        part = _matrix(weight, rows, n, WIDTH)
        z = tl.dot(h, part, input_precision=PRECISION) + tl.load(bias + n)[None, :]
        d_z = _last(z, inside, above, d_tail, tail, n, WIDTH, ANSWER, SLOPE)
        tl.atomic_add(d_bias + n, tl.sum(d_z, 0))
        low = d_z.to(KIND)
        _add_matrix(d_weight, rows, n, tl.dot(tl.trans(h), low, input_precision=PRECISION), WIDTH)
        down = tl.dot(low, tl.trans(part), down, input_precision=PRECISION)
    return _through(down, h, SLOPE)


@triton.jit
def _back_third(
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
    PART: tl.constexpr,
    SLOPE: tl.constexpr,
    KIND: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Back through the maps of `_third`: the gradient of its rows before their activation."""
    rows, columns, down = tl.arange(0, W1), tl.arange(0, W3), tl.zeros((PAIRS, W1), tl.float32)
    tl.atomic_add(d_b3 + columns, tl.sum(d_z3, 0))
    low3 = d_z3.to(KIND)
    for start in range(0, W2, PART):
        n = start + tl.arange(0, PART)
        weight2, weight3 = _matrix(w2, rows, n, W2), _matrix(w3, n, columns, W3)
        z2 = tl.dot(h1, weight2, input_precision=PRECISION) + tl.load(b2 + n)[None, :]
        h2 = _leaky(z2, SLOPE).to(KIND)
        _add_matrix(d_w3, n, columns, tl.dot(tl.trans(h2), low3, input_precision=PRECISION), W3)
        d_z2 = _through(tl.dot(low3, tl.trans(weight3), input_precision=PRECISION), h2, SLOPE)
        tl.atomic_add(d_b2 + n, tl.sum(d_z2, 0))
        low2 = d_z2.to(KIND)
        _add_matrix(d_w2, rows, n, tl.dot(tl.trans(h1), low2, input_precision=PRECISION), W2)
        down = tl.dot(low2, tl.trans(weight2), down, input_precision=PRECISION)
    return _through(down, h1, SLOPE)


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
    room,
    IN: tl.constexpr,
    W1: tl.constexpr,
    W2: tl.constexpr,
    W3: tl.constexpr,
    W4: tl.constexpr,
    DEPTH: tl.constexpr,
    ANSWER: tl.constexpr,
    SLOPE: tl.constexpr,
    PAIRS: tl.constexpr,
    PART: tl.constexpr,
    KIND: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Gradients of `forward`, whose rows are worked out again.

    `grad` is `[pairs]` for an answer, else see `_last`. Those of the weights are added to a part of the given arrays
    that is the program's own, `room` numbers after the one before it; those of the nodes to `d_x`, by all programs.
    """
    pid = tl.program_id(0)
    shift = pid.to(tl.int64) * room
    d_w1, d_b1, d_w2, d_b2, d_w3 = (
        d_w1 + shift,
        d_b1 + shift,
        d_w2 + shift,
        d_b2 + shift,
        d_w3 + shift,
    )
    d_b3, d_w4, d_b4, d_tail = d_b3 + shift, d_w4 + shift, d_b4 + shift, d_tail + shift
    for start in range(pid * PAIRS, pairs, tl.num_programs(0) * PAIRS):
        row, i, j, inside = _block(one, other, pairs, start, PAIRS)
        above = grad
        if ANSWER:
            above = tl.load(grad + row, mask=inside, other=0.0)
        z = _first(x, i, j, w1, b1, IN, W1, PAIRS, PART, KIND, PRECISION)
        if DEPTH == 1:
            d_z = _last(z, inside, above, d_tail, tail, tl.arange(0, W1), W1, ANSWER, SLOPE)
        else:
            h1 = _leaky(z, SLOPE).to(KIND)
            if DEPTH == 2:
                d_z = _back_end(
                    h1,
                    w2,
                    b2,
                    above,
                    d_w2,
                    d_b2,
                    d_tail,
                    tail,
                    inside,
                    W1,
                    W2,
                    ANSWER,
                    PAIRS,
                    PART,
                    SLOPE,
                    KIND,
                    PRECISION,
                )
            else:
                z3 = _third(h1, w2, b2, w3, b3, W1, W2, W3, PAIRS, PART, SLOPE, KIND, PRECISION)
                if DEPTH == 3:
                    d_z3 = _last(
                        z3, inside, above, d_tail, tail, tl.arange(0, W3), W3, ANSWER, SLOPE
                    )
                else:
                    d_z3 = _back_end(
                        _leaky(z3, SLOPE).to(KIND),
                        w4,
                        b4,
                        above,
                        d_w4,
                        d_b4,
                        d_tail,
                        tail,
                        inside,
                        W3,
                        W4,
                        ANSWER,
                        PAIRS,
                        PART,
                        SLOPE,
                        KIND,
                        PRECISION,
                    )
                d_z = _back_third(
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
                    PART,
                    SLOPE,
                    KIND,
                    PRECISION,
                )
        _back_first(x, i, j, d_z, w1, d_x, d_w1, d_b1, inside, IN, W1, PART, KIND, PRECISION)
