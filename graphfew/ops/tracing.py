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
    is_recorded = _python_dispatch._get_current_dispatch_mode() is not None
    return is_recorded or torch.compiler.is_compiling()


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
    is_transformed = torch._C._functorch.peek_interpreter_stack() is not None
    return x.device.type == "cpu" and not is_traced() and not is_transformed
