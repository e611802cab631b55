"""The checkpoint format: one safetensors file whose metadata holds a JSON header."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from graphfew.errors import CheckpointError

FORMAT = 1
# Name prefixes of the tensors of a checkpoint.
MODEL, OPTIMIZER, LEARNER = "model/", "optimizer/", "learner/"
# What reading a damaged or malicious file can raise.
READ_ERRORS = (
    SafetensorError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    OverflowError,
    OSError,
    RuntimeError,
    MemoryError,
)
_METADATA_KEY = "graphfew"


@dataclasses.dataclass(frozen=True)
class Header:
    """The JSON header of a checkpoint.

    Attributes:
        recipe: name and arguments of the model spec as JSON, not yet validated; None for a model
            that was not made by `create`.
        provenance: facts about the training.
        extra: further JSON values.
    """

    recipe: Any
    provenance: dict[str, Any]
    extra: dict[str, Any]

    def to_metadata(self) -> dict[str, str]:
        """The metadata of the safetensors file."""
        return {_METADATA_KEY: json.dumps({"format": FORMAT, **dataclasses.asdict(self)})}


def read_header(path: Path) -> Header:
    """Read the header alone. Raises CheckpointError for damaged files and other files."""
    try:
        with safe_open(path, framework="pt") as file:
            fields = _parse_metadata(file.metadata())
    except READ_ERRORS as error:
        raise _corrupt(path, error) from error
    return _to_header(fields, path)


def read_file(path: Path) -> tuple[Header, dict[str, Tensor]]:
    """Read header and tensors. Raises CheckpointError for damaged files and other files."""
    try:
        with safe_open(path, framework="pt") as file:
            fields = _parse_metadata(file.metadata())
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except READ_ERRORS as error:
        raise _corrupt(path, error) from error
    return _to_header(fields, path), tensors


def read_bytes(content: bytes, name: str | Path) -> tuple[Header, dict[str, Tensor]]:
    """Read header and tensors from the content of a file, whose name errors mention."""
    try:
        tensors = safetensors.torch.load(content)
        # safetensors returns no metadata for bytes, so the header is decoded here. Its layout is
        # stable: the length in 8 bytes, then JSON. `load` has validated both.
        length = int.from_bytes(content[:8], "little")
        fields = _parse_metadata(json.loads(content[8 : 8 + length]).get("__metadata__"))
    except READ_ERRORS as error:
        raise _corrupt(name, error) from error
    return _to_header(fields, name), tensors


def reason(error: BaseException) -> str:
    """The message of an error on one line of bounded length."""
    return " ".join(str(error).split())[:500] or type(error).__name__


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with a prefix, without the prefix."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer by name: `optimizer/<index of the weight>/<name>`."""
    tensors = {}
    # Only the state: learning rates and other options belong to the configuration.
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if value is None:  # the momentum of descent without it
                continue
            tensors[f"{OPTIMIZER}{index}/{name}"] = value
    return tensors


def optimizer_state(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], path: str | Path
) -> dict[int, dict[str, Tensor]]:
    """The state by index of the weight. Raises CheckpointError if it is of another optimizer."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in with_prefix(tensors, OPTIMIZER).items():
        number, _, name = key.partition("/")
        # An index that is not a number matches no weight, so the checks below reject it.
        weight_index = int(number) if number.isdecimal() else -1
        state.setdefault(weight_index, {})[name] = value
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    if not state and _is_stateless(optimizer):
        return state
    if len(state) != len(weights):
        raise CheckpointError(
            f"{path} holds no state for this optimizer (state of {len(state)} weights for "
            f"{len(weights)}); load a checkpoint that was saved with this optimizer"
        )
    for index, weight in enumerate(weights):
        # Step counters have shape (); all other state has the shape of its weight.
        shapes = {tuple(value.shape) for value in state.get(index, {}).values()} - {()}
        if index not in state or shapes - {tuple(weight.shape)}:
            raise CheckpointError(
                f"{path} holds no state of this optimizer's weight {index}, of shape "
                f"{tuple(weight.shape)}; load a checkpoint that was saved with this optimizer"
            )
    return state


def _is_stateless(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimizer has no state after a step, as gradient descent without momentum."""
    is_descent = isinstance(optimizer, torch.optim.SGD)
    return is_descent and all(group["momentum"] == 0 for group in optimizer.param_groups)


def _parse_metadata(metadata: Mapping[str, str] | None) -> Any:
    return json.loads((metadata or {}).get(_METADATA_KEY, "null"))


def _corrupt(path: str | Path, error: BaseException) -> CheckpointError:
    return CheckpointError(
        f"{path} is corrupt or cut short ({reason(error)}); train again, or copy the file again"
    )


def _to_header(fields: Any, path: str | Path) -> Header:
    if not isinstance(fields, dict) or not isinstance(fields.get("format"), int):
        raise CheckpointError(
            f"{path} is a safetensors file but not a graphfew checkpoint; give a file that "
            "graphfew.save wrote"
        )
    if fields["format"] > FORMAT:
        raise CheckpointError(
            f"{path} has checkpoint format {fields['format']}; this graphfew reads up to {FORMAT}; "
            "update graphfew"
        )
    provenance, extra = fields.get("provenance"), fields.get("extra")
    if "recipe" not in fields or not isinstance(provenance, dict) or not isinstance(extra, dict):
        raise CheckpointError(
            f"{path} is a checkpoint without provenance, extra or recipe; give a file that "
            "graphfew.save wrote"
        )
    return Header(fields["recipe"], provenance, extra)
