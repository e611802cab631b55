"""Checkpoints by file, run folder or name of a pretrained model."""

from __future__ import annotations

import hashlib
from pathlib import Path

from graphfew._utils.model_spec import JSON
from graphfew.errors import MissingFileError
from graphfew.serialization import checkpoint_path, pretrained
from graphfew.serialization.hub_download import is_hub_address

SUFFIX = ".safetensors"


def resolve_checkpoint(path: str | Path) -> Path:
    """Find a checkpoint.

    Args:
        path: a file, a run folder (its best checkpoint), the name of a pretrained model, or an
            address of the Hugging Face Hub such as `hf://owner/name`.

    Returns:
        The path of the checkpoint.

    Raises:
        MissingFileError: if nothing matches.
        HubError: if the hub cannot be reached, or refuses access.

    Example:
        >>> from graphfew.runs import resolve_checkpoint
        >>> resolve_checkpoint("egnn-omniglot").name
        'egnn-omniglot.safetensors'
    """
    if is_hub_address(path):
        return checkpoint_path(path)
    name = str(path)
    path = Path(path)
    if path.is_dir():
        path = path / "best.safetensors"
    elif path.suffix != SUFFIX:
        # Not `with_suffix`, which would cut off what follows a dot in the name: `resnet.v2`.
        path = path.with_name(path.name + SUFFIX)
    if path.is_file():
        return path
    # After the files: a local file with the name of a pretrained model takes precedence.
    if name in pretrained.names():
        return pretrained.path(name)
    raise MissingFileError(
        f"there is no checkpoint {path}; give a .safetensors file, a run folder with a best "
        "checkpoint, the name of a pretrained model, or hf://owner/name"
    )


def checkpoint_label(path: Path) -> str:
    """Shorten a checkpoint's path to its run folder and file name.

    Args:
        path: the path of a checkpoint.

    Returns:
        The last two parts of the path.

    Example:
        >>> from graphfew.runs import checkpoint_label
        >>> checkpoint_label(Path("results/runs/egnn/best.safetensors"))
        'egnn/best.safetensors'
    """
    return "/".join(path.parts[-2:]) if len(path.parts) > 1 else path.name


def describe_checkpoint(path: Path) -> dict[str, JSON]:
    """Describe a checkpoint for the provenance of another one.

    Args:
        path: the file.

    Returns:
        Its label, and the digest of its bytes: the path may be reused by a later run.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"checkpoint": checkpoint_label(path), "sha256": digest}
