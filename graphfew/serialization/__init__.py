"""Checkpoints (safetensors and JSON, never pickle) and the pretrained models of the package.

Start with `checkpoint.save` and `checkpoint.load`; `hub_upload.push_to_hub` publishes a model.
"""

from graphfew.serialization import pretrained
from graphfew.serialization.checkpoint import checkpoint_path, load, load_bytes, read_extra, save
from graphfew.serialization.hub_upload import push_to_hub
from graphfew.serialization.model_card import build_model_card

__all__ = [
    "build_model_card",
    "checkpoint_path",
    "load",
    "load_bytes",
    "pretrained",
    "push_to_hub",
    "read_extra",
    "save",
]
