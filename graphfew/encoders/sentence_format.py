"""How a model in the format of sentence-transformers is pooled, read from its folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from graphfew.backbones.external import mean_pool
from graphfew.errors import CheckpointError, ConfigurationError

POOLINGS = ("mean", "cls", "max", "lasttoken")
# How the flags of a configuration are called.
_FLAGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
}
_SUPPORTED = ("Transformer", "Pooling", "Normalize")


@dataclasses.dataclass(frozen=True)
class SentencePooling:
    """How token states become the features of a text.

    Attributes:
        mode: one of `POOLINGS`.
        normalized: whether features are scaled to length 1.
        max_length: number of tokens, to which texts are cut; None if it is not stated.

    Example:
        >>> states = torch.tensor([[[1.0], [3.0], [9.0]]])
        >>> mask = torch.tensor([[True, True, False]])
        >>> SentencePooling("mean")(states, mask).item()
        2.0
    """

    mode: str = "mean"
    normalized: bool = False
    max_length: int | None = None

    def __call__(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool states `[n, L, F]` of the tokens in the mask `[n, L]` to `[n, F]`."""
        features = _pool(states, mask.bool(), self.mode)
        return F.normalize(features, dim=1) if self.normalized else features


def read_pooling(folder: Path) -> SentencePooling:
    """Read the pooling of a model; the mean of all tokens if the folder does not state it.

    Args:
        folder: of the model.

    Returns:
        The pooling.

    Raises:
        ConfigurationError: the model has parts that need sentence-transformers.
        CheckpointError: a file of the folder is damaged.
    """
    if not (folder / "modules.json").is_file():
        return SentencePooling()
    modules = [str(module.get("type", "")) for module in _read_json(folder / "modules.json")]
    kinds = [module.rpartition(".")[2] for module in modules]
    others = sorted(set(kinds) - {*_SUPPORTED})
    if others:
        raise ConfigurationError(
            f"the model {folder} has the parts {', '.join(others)}, which need sentence-transformers; "
            f"give the encoder as sentence-transformers:{folder}"
        )
    mode = "mean"
    for path in sorted(folder.glob("*_Pooling/config.json")):
        mode = _pooling_mode(_read_json(path), folder)
    length = None
    if (folder / "sentence_bert_config.json").is_file():
        length = _read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    return SentencePooling(mode, "Normalize" in kinds, length)


def _pooling_mode(config: dict[str, Any], folder: Path) -> str:
    modes = [mode for flag, mode in _FLAGS.items() if config.get(flag)]
    modes += [str(config["pooling_mode"])] if "pooling_mode" in config else []
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ConfigurationError(
            f"the model {folder} has a pooling that needs sentence-transformers; give the encoder as "
            f"sentence-transformers:{folder}"
        )
    return modes[0]


def _pool(states: Tensor, mask: Tensor, mode: str) -> Tensor:
    if mode == "mean":
        return mean_pool({"last_hidden_state": states}, mask)
    if mode == "max":
        return states.masked_fill(~mask[..., None], -torch.inf).amax(1)
    # Padding may be on either side.
    positions = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    if mode == "cls":
        chosen = positions.masked_fill(~mask, mask.shape[1]).amin(1)
    else:
        chosen = positions.masked_fill(~mask, -1).amax(1)
    rows = torch.arange(len(mask), device=mask.device)
    return states[rows, chosen.clamp(0, mask.shape[1] - 1)]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}); download the model again"
        ) from error
