"""Pretrained checkpoints that come with the library, each with a card of what it is, how it was made and its limits."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

_SUFFIX = ".safetensors"


def names() -> tuple[str, ...]:
    """The checkpoints by name, sorted; `load` takes each of them."""
    return tuple(
        sorted(
            p.name.removesuffix(_SUFFIX)
            for p in files(__name__).iterdir()
            if p.name.endswith(_SUFFIX)
        )
    )


def path(name: str) -> Path:
    """The file of a checkpoint.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if name not in names():
        raise ValueError(
            f"no checkpoint called {name!r} comes with the library; known: {', '.join(names()) or 'none'}"
        )
    return Path(str(files(__name__))) / f"{name}{_SUFFIX}"


def model_card(name: str) -> str:
    """The model card of a checkpoint, as Markdown: data and its licence, protocol, seed, command, accuracy, limits.

    Raises:
        ValueError: an unknown name.
    """
    return path(name).with_suffix(".md").read_text(encoding="utf-8")
