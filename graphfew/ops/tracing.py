"""Whether a computation may read the values of its tensors."""

from __future__ import annotations

import torch
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
