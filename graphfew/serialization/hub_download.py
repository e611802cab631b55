"""Addresses `hf://owner/name` of the Hugging Face Hub, and the checkpoints behind them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from graphfew.errors import (
    GraphfewError,
    HubError,
    InvalidInputError,
    MissingDependencyError,
    MissingFileError,
)

# The only file that is read from a repository.
MODEL_FILE = "model.safetensors"
PREFIX = "hf://"
# `Path` turns the two slashes of an address into one.
_ADDRESS = re.compile(r"hf:/{1,2}(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>\S+))?")


class HubAddress(NamedTuple):
    """The parts of `hf://owner/name@revision`.

    Attributes:
        name: the repository, `owner/name`.
        revision: branch, tag or commit; None for the main branch.
    """

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{PREFIX}{self.name}{revision}"


def is_hub_address(path: str | Path) -> bool:
    """Check whether a path is an address of the hub."""
    return str(path).startswith("hf:/")


def parse_address(text: str | Path) -> HubAddress:
    """Parse `hf://owner/name` or `hf://owner/name@revision`.

    Raises:
        InvalidInputError: the text has another form.
    """
    match = _ADDRESS.fullmatch(str(text))
    if match is None:
        raise InvalidInputError(
            f"{str(text)!r} is no address of a model in the Hugging Face Hub; write "
            "hf://owner/name, or hf://owner/name@revision with a branch, tag or commit"
        )
    return HubAddress(match["name"], match["revision"])


def download_checkpoint(address: HubAddress) -> Path:
    """Find the checkpoint of a repository in the cache of the hub, or download it.

    Only the file `model.safetensors` is downloaded, and nothing of it is executed.

    Args:
        address: the repository, and optionally its branch, tag or commit.

    Returns:
        The path of the file in the cache.

    Raises:
        MissingDependencyError: huggingface_hub is not installed.
        MissingFileError: the repository or revision does not exist, or it has no model of graphfew.
        HubError: the hub cannot be reached, or refuses access.
    """
    hub = import_hub()
    remedy = (
        f"run `hf download {address.name} {MODEL_FILE}` where there is a connection, and load that "
        "file"
    )
    with readable_errors(address, remedy):
        path = hub.hf_hub_download(address.name, MODEL_FILE, revision=address.revision)
    return Path(path)


def import_hub() -> Any:
    """Import huggingface_hub. Raises MissingDependencyError if it is not installed."""
    try:
        return import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "models in the Hugging Face Hub need the package huggingface_hub, which is not "
            'installed; run: pip install "graphfew[hub]"'
        ) from error


@contextmanager
def readable_errors(address: HubAddress, remedy: str) -> Iterator[None]:
    """Turn the exceptions of huggingface_hub and of its connection into graphfew's.

    Args:
        address: the repository.
        remedy: what to do if the hub cannot be reached.
    """
    try:
        yield
    except GraphfewError:
        raise
    except Exception as error:
        translated = _translate(error, address, remedy)
        if translated is None:
            raise
        raise translated from error


def _translate(error: Exception, address: HubAddress, remedy: str) -> GraphfewError | None:
    """The exception of graphfew; None if there is no matching one."""
    errors = import_module("huggingface_hub.errors")
    # Special cases first: these classes derive from each other, and the order differs by version.
    if _is_unreachable(error, errors):
        return HubError(_describe_unreachable(error, address, remedy))
    if isinstance(error, errors.GatedRepoError):
        return HubError(
            f"{address} is gated; accept its conditions on its page in the hub, and log in with "
            "`hf auth login` or HF_TOKEN"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return MissingFileError(
            f"{address} does not exist, or is private; check the name, or log in with `hf auth "
            "login` or HF_TOKEN"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return MissingFileError(
            f"{PREFIX}{address.name} has no revision {address.revision}; give one of its branches, "
            "tags or commits"
        )
    if isinstance(error, errors.EntryNotFoundError):
        return MissingFileError(
            f"{address} has no {MODEL_FILE}; give a repository that push_to_hub wrote"
        )
    if isinstance(error, errors.HfHubHTTPError):
        return HubError(_describe_refusal(error, address))
    if isinstance(error, errors.HFValidationError):
        return InvalidInputError(f"{address} is no valid name in the hub ({_one_line(error)})")
    return None


def _is_unreachable(error: Exception, errors: Any) -> bool:
    """Whether the hub was not reached: offline mode, or no connection and no copy in the cache."""
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return True
    if isinstance(error, errors.HfHubHTTPError):
        return False
    # The library of the connection differs between versions (requests, httpx). An exception of it
    # that has no answer of the server is one of the connection.
    transport = errors.HfHubHTTPError.__bases__[0].__module__.partition(".")[0]
    return bool(type(error).__module__.partition(".")[0] == transport)


def _describe_unreachable(error: Exception, address: HubAddress, remedy: str) -> str:
    constants = import_module("huggingface_hub.constants")
    if constants.HF_HUB_OFFLINE:
        return (
            f"{address} is not in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE is set; "
            f"unset it, or {remedy}"
        )
    return (
        f"{constants.ENDPOINT} cannot be reached for {address} ({_one_line(error)}), and it is not in "
        f"the cache (HF_HUB_OFFLINE=1 uses the cache alone); {remedy}"
    )


def _describe_refusal(error: Any, address: HubAddress) -> str:
    status = error.response.status_code
    if status == 401:
        return f"{address} needs a login; run `hf auth login`, or set HF_TOKEN"
    if status == 403:
        return (
            f"{address} does not allow this with your token; log in as a member of its owner, with "
            "a token that may write"
        )
    return f"the hub refused {address} with status {status} ({_one_line(error)}); try again later"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
