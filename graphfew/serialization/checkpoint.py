"""Save and load models: one safetensors file with a JSON header. Nothing is unpickled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from graphfew._utils.atomic_io import atomic_replace, with_suffix
from graphfew._utils.model_spec import ModelSpec
from graphfew.errors import CheckpointError, InvalidInputError, MissingFileError
from graphfew.methods.registry import rebuild
from graphfew.nn.method import GraphMethod
from graphfew.serialization import pretrained
from graphfew.serialization._checkpoint_format import (
    LEARNER,
    MODEL,
    READ_ERRORS,
    Header,
    optimizer_state,
    optimizer_tensors,
    read_bytes,
    read_file,
    read_header,
    reason,
    with_prefix,
)
from graphfew.serialization.hub_download import (
    download_checkpoint,
    is_hub_address,
    parse_address,
)

SUFFIX = ".safetensors"
# Upper bound on the integer arguments of a model spec: widths, sizes and numbers of layers.
MAX_ARGUMENT = 1_000_000


def save(
    model: GraphMethod,
    path: str | Path,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    extra: Mapping[str, Any] | None = None,
    learner: nn.Module | None = None,
) -> Path:
    """Write a model to one file, atomically: a failed write leaves the previous file.

    Args:
        model: if it was made by `create`, `load` rebuilds it from the file alone; otherwise `load`
            needs `into=`.
        path: the file; `.safetensors` is appended if missing, and folders are created.
        optimizer: saved with the model, to resume training.
        extra: JSON values to save with the model.
        learner: a module whose weights are saved too, if training updates another module than the
            model.

    Returns:
        The path of the file.

    Raises:
        WriteError: the file cannot be written; the previous file is unchanged.

    Example:
        >>> import tempfile, graphfew as gf
        >>> model = gf.create("prototypical", encoder=gf.backbones.identity(4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gf.save(model, f"{folder}/model").name
        'model.safetensors'
    """
    target = with_suffix(path, SUFFIX)
    tensors = {MODEL + name: value for name, value in model.state_dict().items()}
    if optimizer is not None:
        tensors |= optimizer_tensors(optimizer)
    if learner is not None:
        tensors |= {LEARNER + name: value for name, value in learner.state_dict().items()}
    spec = model.spec
    header = Header(
        recipe=None if spec is None else {"name": spec.name, "arguments": dict(spec.arguments)},
        provenance=dict(model.provenance),
        extra=dict(extra or {}),
    )
    # safetensors rejects views and tensors that share memory.
    copies = {name: value.detach().contiguous().clone() for name, value in tensors.items()}
    with atomic_replace(target) as temporary:
        try:
            save_file(copies, temporary, metadata=header.to_metadata())
        except SafetensorError as error:
            # atomic_replace turns an OSError into a WriteError that names the file.
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
    """Read a model that `save` wrote.

    Args:
        path: the file, with or without `.safetensors`; or the name of a pretrained checkpoint (see
            `pretrained.names`), unless a file of that name exists; or a model in the Hugging Face
            Hub, `"hf://owner/name"` or `"hf://owner/name@revision"`, which is cached.
        into: a model to load the weights into, required if the saved model was not made by
            `create`.
        optimizer: the optimizer of the weights; its saved state is loaded into it.
        device: device of the returned model.
        learner: a module to load the saved learner weights into.

    Returns:
        The model, or `into` with the saved weights.

    Raises:
        MissingFileError: the file or repository does not exist.
        HubError: the hub cannot be reached, or refuses access.
        CheckpointError: the file is corrupt, is not a checkpoint, has a newer format, is of another
            model, or describes a model with far more weights than it holds. `into`, `optimizer` and
            `learner` are then unchanged.

    Example:
        >>> import graphfew as gf
        >>> model = gf.load("prototypical-omniglot")
        >>> model.spec.name
        'prototypical'
    """
    header, tensors = read_file(checkpoint_path(path))
    return _load_tensors(header, tensors, path, into=into, optimizer=optimizer, learner=learner).to(
        device
    )


def load_bytes(content: bytes) -> GraphMethod:
    """Read a model from the content of a file that `save` wrote.

    Args:
        content: the bytes of the file.

    Returns:
        The model, on the CPU.

    Raises:
        CheckpointError: the content is corrupt, is not a checkpoint, has a newer format, or is of a
            model that was not made by `create`.

    Example:
        >>> import graphfew as gf
        >>> content = gf.pretrained.path("prototypical-omniglot").read_bytes()
        >>> gf.serialization.load_bytes(content).spec.name
        'prototypical'
    """
    name = "the checkpoint"
    header, tensors = read_bytes(content, name)
    return _load_tensors(header, tensors, name)


def read_extra(path: str | Path) -> dict[str, Any]:
    """Read the `extra` values of a checkpoint, without its tensors.

    Args:
        path: as for `load`.

    Returns:
        The values that were given to `save`.

    Raises:
        MissingFileError: the file does not exist.
        CheckpointError: the file is corrupt, is not a checkpoint, or has a newer format.

    Example:
        >>> import tempfile, graphfew as gf
        >>> model = gf.create("prototypical", encoder=gf.backbones.identity(4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gf.serialization.read_extra(gf.save(model, f"{folder}/model", extra={"step": 7}))
        {'step': 7}
    """
    return read_header(checkpoint_path(path)).extra


def checkpoint_path(path: str | Path) -> Path:
    """Find the file that `load` reads for a path or name.

    Args:
        path: a file, with or without `.safetensors`, the name of a pretrained checkpoint, or an
            address of the Hugging Face Hub.

    Returns:
        The file if it exists; otherwise the pretrained checkpoint of that name. For an address, the
        file in the cache of the hub.

    Raises:
        MissingFileError: it does not exist.
        HubError: the hub cannot be reached, or refuses access.

    Example:
        >>> checkpoint_path("egnn-omniglot").name
        'egnn-omniglot.safetensors'
    """
    if is_hub_address(path):
        return download_checkpoint(parse_address(path))
    file = with_suffix(path, SUFFIX)
    if file.is_file():
        return file
    names = pretrained.names()
    if str(path) in names:
        return pretrained.path(str(path))
    raise MissingFileError(
        f"there is no checkpoint {file}; give a file that graphfew.save wrote, or the name of a "
        f"pretrained one ({', '.join(names) or 'none'})"
    )


def _load_tensors(
    header: Header,
    tensors: Mapping[str, Tensor],
    path: str | Path,
    *,
    into: GraphMethod | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    learner: nn.Module | None = None,
) -> GraphMethod:
    weights = with_prefix(tensors, MODEL)
    learner_weights = with_prefix(tensors, LEARNER)
    model = into
    if model is None:
        model = _build_model(_model_spec(header, path), path, weights)
    # Everything is checked before anything is changed.
    _check_weights(model, weights, path)
    if learner is not None:
        _check_weights(learner, learner_weights, path)
    state = None if optimizer is None else optimizer_state(optimizer, tensors, path)

    # Values are copied into the existing tensors, which optimizers and averages refer to.
    model.load_state_dict(weights)
    if learner is not None:
        learner.load_state_dict(learner_weights)
    if optimizer is not None:
        # The groups stay those of this optimizer; the schedule sets their rate by the step.
        param_groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": param_groups})
    model.provenance = header.provenance
    return model


def _model_spec(header: Header, path: str | Path) -> ModelSpec:
    if not header.recipe:
        raise CheckpointError(
            f"{path} holds a model that was not made by create; build it again and pass it as into="
        )
    match header.recipe:
        case {"name": str(name), "arguments": dict(arguments)}:
            return ModelSpec(name, arguments)
    raise CheckpointError(
        f"{path} has a recipe without name or arguments; give a file that graphfew.save wrote"
    )


def _build_model(spec: ModelSpec, path: str | Path, weights: Mapping[str, Tensor]) -> GraphMethod:
    try:
        # Before anything is built: the spec of a damaged file could request terabytes.
        too_large = next(_large_arguments(spec.arguments), None)
        if too_large is not None:
            name, value = too_large
            raise InvalidInputError(f"{name} is {value}; the largest argument is {MAX_ARGUMENT}")
        n_values = sum(value.numel() for value in weights.values())
        with _limit_parameters(len(weights), n_values):
            return rebuild(spec)
    except (*READ_ERRORS, ArithmeticError, AssertionError, NotImplementedError) as error:
        raise CheckpointError(
            f"{path} has a model spec that this graphfew cannot build ({reason(error)}); use the "
            "version that wrote it"
        ) from error


def _large_arguments(arguments: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield integers larger than any real model has; a list of that many layers fills the memory.

    Seeds may be large.
    """
    for name, value in arguments.items():
        if isinstance(value, Mapping):
            yield from _large_arguments(value)
        elif isinstance(value, int) and abs(value) > MAX_ARGUMENT and name != "seed":
            yield name, value


@contextmanager
def _limit_parameters(n_tensors: int, n_values: int) -> Iterator[None]:
    """Raise as soon as the modules built inside have far more weights than a file holds.

    A malicious or wrong spec may describe a model that is larger than memory, so the check cannot
    wait until the model is built.
    """
    max_tensors, max_values = 2 * n_tensors + 100, 2 * n_values + 1_000_000
    count = {"tensors": 0, "values": 0}

    def check(module: nn.Module, name: str, value: nn.Parameter | None) -> None:
        del module, name
        count["tensors"] += 1
        if value is not None:
            count["values"] += value.numel()
        if count["tensors"] > max_tensors or count["values"] > max_values:
            raise CheckpointError(
                f"the model spec needs more weights than the {n_values} values of the file"
            )

    # The hook is global: modules that other threads build meanwhile are counted too.
    handle = register_module_parameter_registration_hook(check)
    try:
        yield
    finally:
        handle.remove()


def _check_weights(model: nn.Module, weights: Mapping[str, Tensor], path: str | Path) -> None:
    # `load_state_dict` would copy the tensors that match before it raises.
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    saved = {name: tuple(value.shape) for name, value in weights.items()}
    for name in sorted(expected.keys() | saved.keys()):
        if expected.get(name) != saved.get(name):
            raise CheckpointError(
                f"{path} is of another model: {name} is {saved.get(name, 'missing')} in the file "
                f"and {expected.get(name, 'missing')} in the model"
            )
