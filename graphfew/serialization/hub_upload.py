"""Upload of models to the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graphfew.errors import InvalidInputError
from graphfew.evaluation.accuracy import Result
from graphfew.nn.method import GraphMethod
from graphfew.serialization.checkpoint import save
from graphfew.serialization.hub_download import (
    MODEL_FILE,
    PREFIX,
    HubAddress,
    import_hub,
    parse_address,
    readable_errors,
)
from graphfew.serialization.model_card import build_model_card

CARD_FILE = "README.md"
_REMEDY = "save the model to a file with graphfew.save, and upload it later"


def push_to_hub(
    model: GraphMethod,
    name: str,
    *,
    results: Sequence[Result] = (),
    description: str = "",
    license: str | None = None,
    card: str | None = None,
    private: bool | None = None,
    revision: str | None = None,
    message: str = "Upload a graphfew model",
) -> str:
    """Upload a model to the Hugging Face Hub, with a model card.

    The repository is created if missing. It gets `model.safetensors`, and a `README.md` unless it
    has one. Log in before with `hf auth login`, or set `HF_TOKEN`.

    Args:
        model: a model that was made by `create`.
        name: the repository, `"owner/name"`.
        results: results of `evaluate`, for the table of accuracies in the card.
        description: paragraph for the card: data, intended use and limits.
        license: license of the model for the card, such as `"mit"`.
        card: the whole card, which replaces the one that the repository has; None builds one.
        private: whether a new repository is private; None for the owner's default.
        revision: an existing branch to upload to; None for the main one.
        message: message of the commit.

    Returns:
        The address of the commit for `load`, `"hf://owner/name@commit"`.

    Raises:
        InvalidInputError: the name has another form, or `load` could not rebuild the model.
        MissingDependencyError: huggingface_hub is not installed.
        MissingFileError: the branch does not exist.
        HubError: the hub cannot be reached, or refuses access.

    Example:
        >>> import graphfew as gf
        >>> model = gf.create("prototypical", encoder=gf.backbones.conv4())
        >>> gf.push_to_hub(model, "owner/name@v1")
        Traceback (most recent call last):
        graphfew.errors.InvalidInputError: the repository is 'owner/name@v1'; write owner/name, ...
    """
    repository = _parse_name(name)
    if model.spec is None:
        raise InvalidInputError(
            "the model was not made by create, so load could not rebuild it from the hub; create it "
            "by name (see register_method for your own methods)"
        )
    hub = import_hub()
    api = hub.HfApi()
    with (
        tempfile.TemporaryDirectory() as folder,
        readable_errors(HubAddress(repository, revision), _REMEDY),
    ):
        file = save(model, Path(folder) / MODEL_FILE)
        api.create_repo(repository, private=private, exist_ok=True)
        # A card in the repository may have been edited by hand.
        if card is None and not api.file_exists(repository, CARD_FILE, revision=revision):
            card = build_model_card(
                model,
                str(HubAddress(repository)),
                results=results,
                description=description,
                license=license,
            )
        operations: list[Any] = [hub.CommitOperationAdd(MODEL_FILE, file)]
        if card is not None:
            operations.append(hub.CommitOperationAdd(CARD_FILE, card.encode()))
        commit = api.create_commit(
            repository, operations, commit_message=message, revision=revision
        )
    return str(HubAddress(repository, commit.oid))


def _parse_name(name: str) -> str:
    """The repository of `owner/name`, with or without `hf://`. Raises InvalidInputError."""
    text = name if name.startswith(PREFIX) else PREFIX + name
    try:
        address = parse_address(text)
    except InvalidInputError:
        address = HubAddress("", "")
    if address.revision is not None:
        raise InvalidInputError(
            f"the repository is {name!r}; write owner/name, and a branch as revision="
        )
    return address.name
