"""Checkpoints: one safetensors file whose header holds the recipe as JSON. Nothing is ever unpickled."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from graphfew._utils.atomic_io import atomic_replace, with_suffix
from graphfew._utils.model_spec import ModelSpec
from graphfew.methods.registry import rebuild
from graphfew.nn.method import GraphMethod
from graphfew.serialization import pretrained

FORMAT = 1
# What a damaged file, or one made to harm, may lead to.
BROKEN = (
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
# Of a recipe's widths, sizes and numbers of layers.
LARGEST = 1_000_000
SUFFIX = ".safetensors"
_MODEL, _OPTIMIZER, _LEARNER = "model/", "optimizer/", "learner/"


def save(
    model: GraphMethod,
    path: str | Path,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    extra: Mapping[str, Any] | None = None,
    learner: nn.Module | None = None,
) -> Path:
    """Write the model to one file, beside first and then renamed, so that a broken write leaves the old file.

    Args:
        model: one made by `create` is rebuilt by `load` alone; any other needs `load(..., into=)`.
        path: `.safetensors` is added where it is missing; folders are made.
        optimizer: its state goes along, for training to go on.
        extra: JSON values kept with it.
        learner: a module whose weights go along, where training updates another one than the model.

    Returns:
        The path written.

    Raises:
        Unwritten: an `OSError`: there is no room, or no right to write there; the old file is as it was.
    """
    target = with_suffix(path, SUFFIX)
    tensors = {_MODEL + name: value for name, value in model.state_dict().items()}
    tensors |= {} if optimizer is None else _optimizer_tensors(optimizer)
    tensors |= (
        {}
        if learner is None
        else {_LEARNER + name: value for name, value in learner.state_dict().items()}
    )
    header = {
        "format": FORMAT,
        "provenance": dict(model.provenance),
        "extra": dict(extra or {}),
        "recipe": model.spec and {"name": model.spec.name, "arguments": dict(model.spec.arguments)},
    }
    whole = {name: value.detach().contiguous().clone() for name, value in tensors.items()}
    with atomic_replace(target) as beside:
        try:
            save_file(whole, beside, metadata={"graphfew": json.dumps(header)})
        except SafetensorError as error:
            raise OSError(str(error)) from error
    return target


def load(
    path: str | Path,
    *,
    into: GraphMethod | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    device: torch.device | str = "cpu",
    learner: nn.Module | None = None,
) -> GraphMethod:
    """The model that `save` wrote.

    Args:
        path: with or without `.safetensors`; or the name of a checkpoint that comes with the library (see `shipped`),
            where no such file is there.
        into: an already built model to fill; needed for a model that was not made by `create`.
        optimizer: of the weights that are trained; gets the state that was saved with them.
        device: where the model goes.
        learner: gets the weights that were saved as the learner's.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is corrupt, not a checkpoint, of a newer format, or of another model, or whose recipe
            asks for far more weights than it holds; `into`, `optimizer` and `learner` are then unchanged.
    """
    header, tensors = _read(_file(path))
    weights = _part(tensors, _MODEL)
    model = into if into is not None else _rebuilt(_recipe(header, path), path, weights)
    _check_weights(model, weights, path)
    if learner is not None:
        _check_weights(learner, _part(tensors, _LEARNER), path)
    state = None if optimizer is None else _optimizer_state(optimizer, tensors, path)
    model.load_state_dict(weights)
    if learner is not None:
        learner.load_state_dict(_part(tensors, _LEARNER))
    if optimizer is not None and state is not None:
        optimizer.load_state_dict(
            {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
        )
    model.provenance = header["provenance"]
    return model.to(device)


def read_extra(path: str | Path) -> dict[str, Any]:
    """The `extra` values that `save` kept. Raises as `load` does."""
    header, _ = _read(_file(path))
    return dict(header["extra"])


def _file(path: str | Path) -> Path:
    """The file to read."""
    own = with_suffix(path, SUFFIX)
    return (
        pretrained.path(str(path)) if str(path) in pretrained.names() and not own.is_file() else own
    )


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no checkpoint {path}; give the file that save wrote, or the name of one "
            f"that comes along ({', '.join(pretrained.names()) or 'none does'})"
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("graphfew", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except BROKEN as error:
        raise ValueError(
            f"{path} is corrupt or cut short ({_reason(error)}); train again, or copy it anew"
        ) from error
    fields = header if isinstance(header, dict) else {}
    if not isinstance(fields.get("format"), int):
        raise ValueError(
            f"{path} is a safetensors file but not a graphfew checkpoint; give a file that save wrote"
        )
    if header["format"] > FORMAT:
        raise ValueError(
            f"{path} has checkpoint format {header['format']}; this graphfew reads up to {FORMAT}; update"
        )
    kept = (fields.get("provenance"), fields.get("extra"))
    if "recipe" not in fields or not all(isinstance(value, dict) for value in kept):
        raise ValueError(
            f"{path} is a checkpoint without provenance, extra or recipe; give a file that save wrote"
        )
    return fields, tensors


def _recipe(header: Mapping[str, Any], path: str | Path) -> ModelSpec:
    if not header["recipe"]:
        raise ValueError(
            f"{path} holds a model that was built by hand; build it again and pass it as into="
        )
    match header["recipe"]:
        case {"name": str(name), "arguments": dict(arguments)}:
            return ModelSpec(name, arguments)
    raise ValueError(f"{path} has a recipe without name or arguments; give a file that save wrote")


def _rebuilt(recipe: ModelSpec, path: str | Path, weights: Mapping[str, Tensor]) -> GraphMethod:
    try:
        beyond = next(_beyond(recipe.arguments), None)
        if beyond is not None:
            raise ValueError(f"{beyond[0]} is {beyond[1]}")
        with _no_more_than(len(weights), sum(value.numel() for value in weights.values())):
            return rebuild(recipe)
    except (*BROKEN, ArithmeticError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"{path} has a recipe that this graphfew cannot follow ({_reason(error)}); use the version "
            "that wrote it"
        ) from error


def _beyond(arguments: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Whole numbers, seeds apart, that no model has: a list of so many layers would fill the memory by itself."""
    for name, value in arguments.items():
        if isinstance(value, Mapping):
            yield from _beyond(value)
        elif isinstance(value, int) and abs(value) > LARGEST and name != "seed":
            yield name, value


@contextmanager
def _no_more_than(tensors: int, numbers: int) -> Iterator[None]:
    """Raises ValueError as soon as a module is made that has far more weights than a file holds: its recipe asks for
    another model, which may be larger than memory."""
    counted, limit = [0, 0], (2 * tensors + 100, 2 * numbers + 1_000_000)

    def count(module: nn.Module, name: str, value: nn.Parameter | None) -> None:
        del module, name
        counted[0] += 1
        counted[1] += 0 if value is None else value.numel()
        if counted[0] > limit[0] or counted[1] > limit[1]:
            raise ValueError(f"it asks for more weights than the {numbers} numbers of the file")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)
    }


def _check_weights(model: nn.Module, weights: Mapping[str, Tensor], path: str | Path) -> None:
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    new = {name: tuple(value.shape) for name, value in weights.items()}
    for name in sorted(own.keys() | new.keys()):
        if own.get(name) != new.get(name):
            raise ValueError(
                f"{path} is of another model: {name} is {new.get(name, 'missing')} in the file and "
                f"{own.get(name, 'missing')} in the model"
            )


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{_OPTIMIZER}{index}/{name}": value
        for index, values in state.items()
        for name, value in values.items()
    }


def _optimizer_state(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], path: str | Path
) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(_OPTIMIZER):
            index, _, name = key[len(_OPTIMIZER) :].partition("/")
            state.setdefault(int(index) if index.isdecimal() else -1, {})[name] = value
    trained = [weight for group in optimizer.param_groups for weight in group["params"]]
    if len(state) != len(trained):
        raise ValueError(
            f"{path} holds no state for this optimizer ({len(state)} weights); give a file saved with one"
        )
    for number, weight in enumerate(trained):
        shapes = {tuple(value.shape) for value in state.get(number, {}).values()} - {()}
        if number not in state or shapes - {tuple(weight.shape)}:
            raise ValueError(
                f"{path} holds no state of this optimizer's weight {number}, of shape "
                f"{tuple(weight.shape)}; give a file saved with it"
            )
    return state
