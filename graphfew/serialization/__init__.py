"""Checkpoints (safetensors and JSON, never pickle) and the pretrained models of the package.

Start with `checkpoint.save` and `checkpoint.load`.
"""

from graphfew.serialization import pretrained
from graphfew.serialization.checkpoint import checkpoint_path, load, load_bytes, read_extra, save

__all__ = ["checkpoint_path", "load", "load_bytes", "pretrained", "read_extra", "save"]
