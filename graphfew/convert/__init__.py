"""Conversion from and to PyTorch Geometric and networkx.

Start reading at `pyg.to_pyg_batch` and `networkx.to_networkx`.
"""

from graphfew.convert.networkx import from_networkx, to_networkx
from graphfew.convert.pyg import episode_from_pyg, from_pyg, to_pyg, to_pyg_batch

__all__ = [
    "episode_from_pyg",
    "from_networkx",
    "from_pyg",
    "to_networkx",
    "to_pyg",
    "to_pyg_batch",
]
