"""The CPU path of the pairwise MLP equals the plain one."""

import pytest
import torch

from graphfew.nn.layers import blocks
from graphfew.nn.pair_mlp import PairMLP, fold_batch_norms, plain_pair_mlp
from graphfew.ops.cpu_pair_mlp import buffered_pair_mlp


@pytest.mark.parametrize("widths", [(5,), (5, 7), (5, 7, 7, 5, 3), (16, 16, 16)])
@torch.no_grad()
def test_buffered_equals_plain(widths):
    torch.manual_seed(0)
    net = PairMLP(*blocks(widths, bias=True), torch.nn.Linear(widths[-1], 1)).double().eval()
    steps = fold_batch_norms(net)
    plain, buffered = plain_pair_mlp(steps, torch.float64), buffered_pair_mlp(steps)
    # Chunks grow and shrink, so that buffers are allocated, reused and sliced.
    for n_rows in (4, 9, 1, 9):
        a, b = torch.randn(2, n_rows, widths[0], dtype=torch.float64)
        torch.testing.assert_close(buffered(a, b), plain(a, b), rtol=0, atol=1e-12)
        torch.testing.assert_close(
            buffered(a[:, None], b[None]), plain(a[:, None], b[None]), rtol=0, atol=1e-12
        )
