"""Checkpoints (safetensors and JSON, never pickle) and the pretrained models that the package includes."""

from graphfew.serialization import pretrained
from graphfew.serialization.checkpoint import load, save

__all__ = ["load", "pretrained", "save"]
