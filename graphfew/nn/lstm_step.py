"""One step of an LSTM, for recurrent updates that are not sequences of torch's `nn.LSTM`."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def lstm_step(
    lstm: nn.LSTMCell, x: Float[Tensor, "B I"], state: tuple[Tensor, Tensor]
) -> tuple[Float[Tensor, "B H"], Float[Tensor, "B H"]]:
    """Compute a step of an LSTM without in-place operations, so that it can be exported.

    Args:
        lstm: the weights.
        x: inputs.
        state: hidden and cell state, `[B, H]` each.

    Returns:
        The next hidden and cell state, the values of `lstm(x, state)`.

    Example:
        >>> import torch
        >>> from graphfew.nn.lstm_step import lstm_step
        >>> state = torch.zeros(4, 3), torch.zeros(4, 3)
        >>> hidden, cell = lstm_step(torch.nn.LSTMCell(2, 3), torch.ones(4, 2), state)
        >>> hidden.shape
        torch.Size([4, 3])
    """
    hidden, cell = state
    from_input = F.linear(x, lstm.weight_ih, lstm.bias_ih)
    gates = from_input + F.linear(hidden, lstm.weight_hh, lstm.bias_hh)
    input_gate, forget_gate, candidate, output_gate = gates.chunk(4, dim=1)
    cell = forget_gate.sigmoid() * cell + input_gate.sigmoid() * candidate.tanh()
    return output_gate.sigmoid() * cell.tanh(), cell
