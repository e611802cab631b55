"""Pretrained checkpoints of the package, each with a model card.

`graphfew.load` takes their names.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from graphfew.errors import InvalidInputError

_SUFFIX = ".safetensors"


def names() -> tuple[str, ...]:
    """List the pretrained checkpoints.

    Returns:
        The names, sorted.

    Example:
        >>> "egnn-omniglot" in names()
        True
    """
    entries = [entry.name for entry in files(__name__).iterdir()]
    return tuple(sorted(e.removesuffix(_SUFFIX) for e in entries if e.endswith(_SUFFIX)))


def path(name: str) -> Path:
    """Find the file of a pretrained checkpoint.

    Args:
        name: one of `names()`.

    Returns:
        The path of the file.

    Raises:
        InvalidInputError: the name is unknown.

    Example:
        >>> path("egnn-omniglot").name
        'egnn-omniglot.safetensors'
    """
    if name not in names():
        raise InvalidInputError(
            f"unknown pretrained checkpoint {name!r}; expected one of: {', '.join(names()) or 'none'}"
        )
    return Path(str(files(__name__))) / f"{name}{_SUFFIX}"


def model_card(name: str) -> str:
    """Read the model card of a pretrained checkpoint.

    Args:
        name: one of `names()`.

    Returns:
        Markdown: data and its license, training, seed, command, accuracy and limitations.

    Raises:
        InvalidInputError: the name is unknown.

    Example:
        >>> model_card("egnn-omniglot").splitlines()[0]
        '# egnn-omniglot'
    """
    return path(name).with_suffix(".md").read_text(encoding="utf-8")
