"""Whether a computation may read the values of its tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils import _python_dispatch


def is_traced() -> bool:
    """Return whether operators are being compiled or recorded for export.

    Control flow must not depend on values then.

    Example:
        >>> from graphfew.ops.tracing import is_traced
        >>> is_traced()
        False
    """
    # Asked first: the compiler knows this answer, and cannot compile the other question.
    if torch.compiler.is_compiling():
        return True
    return _python_dispatch._get_current_dispatch_mode() is not None


def is_eager(x: Tensor) -> bool:
    """Return whether reading a value of a tensor is possible and needs no synchronization.

    Args:
        x: any tensor.

    Example:
        >>> import torch
        >>> from graphfew.ops.tracing import is_eager
        >>> is_eager(torch.zeros(1))
        True
    """
    if x.device.type != "cpu" or is_traced():
        return False
    is_transformed: bool = torch._C._functorch.peek_interpreter_stack() is not None
    return not is_transformed
