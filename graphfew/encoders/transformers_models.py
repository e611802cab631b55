"""`transformers:`: models of texts and images of Hugging Face, with their weights on this machine."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from graphfew.backbones.external import pooler_output
from graphfew.data.column_roles import ItemKind
from graphfew.encoders import pretrained_files
from graphfew.encoders.embedding_cache import cache_key
from graphfew.encoders.item_encoder import Features, ItemEncoder
from graphfew.encoders.lazy_model import LazyModel, PretrainedFit
from graphfew.encoders.sentence_format import SentencePooling, read_pooling
from graphfew.errors import CheckpointError, MissingFileError

PREFIX = "transformers"
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "tokenizer.model",
)
_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
# Longer texts are cut if neither the model nor its tokenizer states a length.
_MAX_LENGTH = 512
# Some tokenizers state a huge number instead of none.
_LARGEST_LENGTH = 100_000


def transformers_encoder(name: str, device: str | None = None) -> ItemEncoder:
    """Build the encoder `transformers:name`.

    Texts are pooled as `modules.json` of the folder states, otherwise by the mean of all tokens.
    Images are pooled by the class token if the model has one, otherwise by the model's own pooling.
    Models of both, such as CLIP, use their projections.

    Args:
        name: folder of the model, or its name in the cache of Hugging Face.
        device: None takes the GPU if there is one.

    Returns:
        The encoder. The model is loaded when it is first used.

    Raises:
        MissingDependencyError: transformers is not installed.
        MissingFileError: the model or one of its files does not exist.
        ConfigurationError: the device cannot be used, or the model needs sentence-transformers.

    Example:
        >>> from graphfew.errors import GraphfewError
        >>> try:
        ...     transformers_encoder("/no/such/folder")
        ... except GraphfewError as error:
        ...     print(type(error).__name__)
        Missing...Error
    """
    full_name = f"{PREFIX}:{name}"
    pretrained_files.require("transformers", "text", full_name, "tfidf (texts) or hog (images)")
    target = pretrained_files.resolve_encoder_device(device)
    owners = ("sentence-transformers",)
    folder = pretrained_files.find_model_folder(name, owners, "tfidf (texts) or hog (images)")
    kinds = _kinds(folder)
    pooling = read_pooling(folder)
    model = LazyModel(functools.partial(load_transformers, folder, kinds, pooling, target))
    key = cache_key(full_name, pretrained_files.files_key(folder))
    return ItemEncoder(full_name, kinds, PretrainedFit(model), cache_key=key)


def load_transformers(
    folder: Path, kinds: Sequence[ItemKind], pooling: SentencePooling, device: torch.device
) -> TransformersModel:
    """Load a model with its tokenizer and image processor.

    Raises:
        CheckpointError: a file is damaged, or the version of transformers does not know the model.
    """
    transformers = pretrained_files.import_package("transformers")
    tokenizer = processor = None
    try:
        with _quiet(transformers):
            model = transformers.AutoModel.from_pretrained(folder, local_files_only=True)
            if "text" in kinds:
                tokenizer = transformers.AutoTokenizer.from_pretrained(
                    folder, local_files_only=True
                )
            if "image" in kinds:
                processor = transformers.AutoImageProcessor.from_pretrained(
                    folder, local_files_only=True
                )
    # Damaged files raise errors of many types: of JSON, of safetensors, of tokenizers.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"the model {folder} cannot be loaded ({reason}); download it again, or update "
            "transformers"
        ) from error
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    if tokenizer is not None and tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = model.to(device=device, dtype=torch.float32).eval().requires_grad_(False)
    return TransformersModel(model, tokenizer, processor, pooling, device)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class TransformersModel:
    """A loaded model.

    Attributes:
        model: the network.
        tokenizer: of texts; None if it takes images only.
        processor: of images; None if it takes texts only.
        pooling: of texts.
        device: of the network.
    """

    model: Any
    tokenizer: Any
    processor: Any
    pooling: SentencePooling
    device: torch.device

    @torch.inference_mode()
    def __call__(self, batch: Sequence[Any]) -> Features:
        """Encode texts or RGB images to `[n, F]`."""
        encode = self._encode_texts if isinstance(batch[0], str) else self._encode_images
        features: Features = encode(batch).float().cpu().numpy()
        return features

    def _encode_texts(self, texts: Sequence[str]) -> Tensor:
        encoding = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self._max_length(),
            return_tensors="pt",
        ).to(self.device)
        if hasattr(self.model, "get_text_features"):
            return _as_features(self.model.get_text_features(**encoding))
        states = self.model(**encoding).last_hidden_state
        return self.pooling(states, encoding["attention_mask"])

    def _encode_images(self, images: Sequence[Any]) -> Tensor:
        pixels = self.processor(list(images), return_tensors="pt")["pixel_values"].to(self.device)
        if hasattr(self.model, "get_image_features"):
            return _as_features(self.model.get_image_features(pixel_values=pixels))
        output = self.model(pixel_values=pixels)
        states = output.last_hidden_state
        # The pooling layer of a classifier's checkpoint is not trained; its class token is.
        has_class_token = any(
            name.endswith("cls_token") for name, _ in self.model.named_parameters()
        )
        if states.ndim == 3 and has_class_token:
            return _as_features(states[:, 0])
        return pooler_output(output, None)

    def _max_length(self) -> int:
        config = self.model.config
        config = getattr(config, "text_config", config)
        stated = (
            self.pooling.max_length,
            getattr(self.tokenizer, "model_max_length", None),
            getattr(config, "max_position_embeddings", None),
        )
        lengths = [length for length in stated if length and 0 < length < _LARGEST_LENGTH]
        return int(min(lengths, default=_MAX_LENGTH))


def _kinds(folder: Path) -> tuple[ItemKind, ...]:
    kinds: list[ItemKind] = []
    if any((folder / name).is_file() for name in _TOKENIZER_FILES):
        kinds.append("text")
    if any((folder / name).is_file() for name in _PROCESSOR_FILES):
        kinds.append("image")
    if not kinds:
        raise MissingFileError(
            f"the folder {folder} has neither a tokenizer ({_TOKENIZER_FILES[0]}) nor an image "
            f"processor ({_PROCESSOR_FILES[0]}); save it there with `save_pretrained`"
        )
    return tuple(kinds)


def _as_features(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else pooler_output(output, None)


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Suppress progress bars and notes about weights of heads that are not used."""
    logging = transformers.utils.logging
    level, shows_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shows_bars:
            logging.enable_progress_bar()
