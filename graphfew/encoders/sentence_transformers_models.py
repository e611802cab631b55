"""`sentence-transformers:`: models of that library, with their weights on this machine."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import torch

from graphfew.data.column_roles import ItemKind
from graphfew.encoders import pretrained_files
from graphfew.encoders.embedding_cache import cache_key
from graphfew.encoders.item_encoder import Features, ItemEncoder
from graphfew.encoders.lazy_model import LazyModel, PretrainedFit
from graphfew.errors import CheckpointError

PREFIX = "sentence-transformers"
_OWNERS = ("sentence-transformers",)


def sentence_transformers_encoder(name: str, device: str | None = None) -> ItemEncoder:
    """Build the encoder `sentence-transformers:name`.

    Args:
        name: folder of the model, or its name in the cache of Hugging Face, such as
            "all-MiniLM-L6-v2".
        device: None takes the GPU if there is one.

    Returns:
        The encoder. The model is loaded when it is first used.

    Raises:
        MissingDependencyError: sentence-transformers is not installed.
        MissingFileError: the model does not exist.
        ConfigurationError: the device cannot be used.

    Example:
        >>> from graphfew.errors import GraphfewError
        >>> try:
        ...     sentence_transformers_encoder("/no/such/folder")
        ... except GraphfewError as error:
        ...     print(type(error).__name__)
        Missing...Error
    """
    full_name = f"{PREFIX}:{name}"
    pretrained_files.require("sentence_transformers", "text", full_name, "tfidf")
    target = pretrained_files.resolve_encoder_device(device)
    folder = pretrained_files.find_model_folder(name, _OWNERS, "tfidf")
    model = LazyModel(functools.partial(load_sentence_transformer, folder, target))
    key = cache_key(full_name, pretrained_files.files_key(folder))
    return ItemEncoder(full_name, _kinds(folder), PretrainedFit(model), cache_key=key)


def load_sentence_transformer(folder: Path, device: torch.device) -> SentenceModel:
    """Load a model.

    Raises:
        CheckpointError: a file is damaged.
    """
    library = pretrained_files.import_package("sentence_transformers")
    try:
        model = library.SentenceTransformer(str(folder), device=str(device), local_files_only=True)
    # Damaged files raise errors of many types.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"the model {folder} cannot be loaded ({reason}); download it again, or update "
            "sentence-transformers"
        ) from error
    return SentenceModel(model)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class SentenceModel:
    """A loaded model.

    Attributes:
        model: of sentence-transformers.
    """

    model: Any

    def __call__(self, batch: Sequence[Any]) -> Features:
        """Encode texts or images to `[n, F]`."""
        features: Features = self.model.encode(
            list(batch),
            batch_size=len(batch),
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return features


def _kinds(folder: Path) -> tuple[ItemKind, ...]:
    """Texts; images too if the model is a CLIP."""
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ("text",)
    has_clip = any("CLIP" in str(module.get("type")) for module in modules)
    return ("text", "image") if has_clip else ("text",)
