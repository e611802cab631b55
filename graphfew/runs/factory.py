"""The model and the loss of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from graphfew import backbones
from graphfew.backbones.base import Backbone
from graphfew.backbones.principal_components import PrincipalComponents
from graphfew.backbones.wrappers import AffineTTA, FlipTTA
from graphfew.data import Dataset, encode
from graphfew.data.int_range import IntRange
from graphfew.errors import CheckpointError, ConfigurationError
from graphfew.methods.losses import LOSSES
from graphfew.methods.registry import NAMED_FUNCTIONS, create, find_method
from graphfew.nn.method import GraphMethod
from graphfew.runs.checkpoints import describe_checkpoint, resolve_checkpoint
from graphfew.runs.config import TrainConfig
from graphfew.runs.config_checks import CLASSES
from graphfew.serialization import checkpoint
from graphfew.training.pretrain import class_loss

# Enough items to estimate the main directions of variance, and quick to encode.
MAX_PCA_ITEMS = 4000
# What a factory may raise for arguments of the wrong type or size.
FACTORY_ERRORS = (TypeError, RuntimeError, OverflowError, MemoryError)


def build_model(config: TrainConfig) -> GraphMethod:
    """Build the untrained model, with weights drawn from the seed.

    Args:
        config: the configuration.

    Returns:
        The method on its encoder.

    Raises:
        ConfigurationError: if a factory rejects its arguments.
        ValueError: if a name is unknown.

    Example:
        >>> from graphfew.runs import TrainConfig
        >>> from graphfew.runs.factory import build_model
        >>> build_model(TrainConfig("egnn", "glyphs")).spec.name
        'egnn'
    """
    arguments = method_arguments(config)
    seed = config.schedule.seed
    # Two blocks, so that the error names the factory that failed.
    try:
        encoder = _build_encoder(config)
    except FACTORY_ERRORS as error:
        encoder_arguments = dict(config.encoder_arguments)
        raise _factory_error("encoder", config.encoder, encoder_arguments, error) from error
    try:
        return create(config.method, encoder=encoder, seed=seed, **arguments)
    except FACTORY_ERRORS as error:
        raise _factory_error("method", config.method, arguments, error) from error


def _build_encoder(config: TrainConfig) -> Backbone:
    """The backbone, wrapped for test-time augmentation and PCA as configured."""
    # A seed among the encoder's own arguments takes precedence.
    arguments = {"seed": config.schedule.seed, **config.encoder_arguments}
    encoder = backbones.create(config.encoder, **arguments)
    # The order matters: PCA is outermost, so it is fitted on features averaged over the views.
    if config.views != 1:
        encoder = backbones.affine_tta(encoder, config.views)
    if config.mirror is not None:
        encoder = backbones.flip_tta(encoder, config.mirror)
    if config.components is not None:
        encoder = backbones.pca(encoder, config.components)
    return encoder


def _factory_error(
    key: str, name: str, arguments: Mapping[str, Any], error: BaseException
) -> ConfigurationError:
    """An error that names the factory and its arguments, cut to a readable length."""
    return ConfigurationError(
        f"{name[:80]} cannot be built with {str(arguments)[:500]}: {str(error)[:500]}", key=key
    )


def method_arguments(config: TrainConfig) -> dict[str, Any]:
    """Collect the arguments of the method's factory, with mode, way, shot and named functions resolved.

    Args:
        config: the configuration.

    Returns:
        Keyword arguments for `create`.

    Raises:
        ConfigurationError: if the method lacks the mode, needs one number of classes or shots and
            got a range, or the name of a function is unknown.

    Example:
        >>> from graphfew.runs import TrainConfig
        >>> from graphfew.runs.factory import method_arguments
        >>> method_arguments(TrainConfig("gnn", "glyphs", way="4"))
        {'way': 4}
    """
    method = find_method(config.method)
    arguments: dict[str, Any] = dict(config.arguments)
    if method.fixed_way:
        # `--set way=...` takes precedence over `--way`.
        arguments.setdefault("way", _fixed_number(config, "way", "classes"))
    if method.fixed_shot:
        arguments.setdefault("shot", _fixed_number(config, "shot", "shots"))
    # Configurations are JSON and name these functions; the factory takes the functions.
    for kind, functions in NAMED_FUNCTIONS.items():
        value = arguments.get(kind)
        if isinstance(value, str):
            if value not in functions:
                raise ConfigurationError(
                    f"unknown {kind} {value!r}; expected one of {', '.join(functions)}",
                    key="arguments",
                )
            arguments[kind] = functions[value]
    if config.transductive is not None:
        check_mode(config.method, config.transductive)
        # Methods with a single mode have no such argument.
        if method.inductive and method.transductive:
            arguments["transductive"] = config.transductive
    return arguments


def _fixed_number(config: TrainConfig, option: str, noun: str) -> int:
    """The value of `way` or `shot` for a method whose weights depend on it."""
    value = IntRange.parse(getattr(config, option), name=option)
    if not value.is_constant:
        raise ConfigurationError(
            f"{config.method} is built for one number of {noun} and {option} is {value}; "
            "give one number",
            key=option,
        )
    return value.low


def check_mode(name: str, transductive: bool) -> None:
    """Check that a method has an evaluation mode.

    Args:
        name: name of the method.
        transductive: whether all queries of a task are predicted jointly.

    Raises:
        ConfigurationError: if it does not.

    Example:
        >>> from graphfew.runs import check_mode
        >>> check_mode("egnn", transductive=True)
    """
    method = find_method(name)
    if transductive and not method.transductive:
        raise ConfigurationError(
            f"{name} is inductive only; it has no transductive mode", key="transductive"
        )
    if not transductive and not method.inductive:
        raise ConfigurationError(
            f"{name} is transductive only; it has no inductive mode", key="transductive"
        )


def choose_loss(config: TrainConfig) -> Callable[[Any, Tensor], Tensor] | None:
    """Return the loss of a configuration.

    Args:
        config: the configuration.

    Returns:
        The configured loss, otherwise the loss of the method's paper; None if there are no steps.

    Raises:
        ConfigurationError: if steps are requested of a method without training, and no loss is
            given.

    Example:
        >>> from graphfew.runs import TrainConfig
        >>> from graphfew.runs.factory import choose_loss
        >>> choose_loss(TrainConfig("egnn", "glyphs", loss="edge")).__name__
        'edge_loss'
    """
    has_steps = config.schedule.steps > 0
    if config.objective == CLASSES:
        return class_loss if has_steps else None
    loss = find_method(config.method).loss
    if config.loss is not None:
        loss = LOSSES[config.loss]
    # Before the next check: with `steps=0` a method is saved as it is, trainable or not.
    if not has_steps:
        return None
    if loss is None:
        raise ConfigurationError(
            f"{config.method} needs no training: give steps=0 to save it untrained, or a loss "
            f"({', '.join(LOSSES)}) to train its encoder",
            key="steps",
        )
    return loss


def load_encoder_weights(model: GraphMethod, path: str) -> None:
    """Load the encoder weights of another checkpoint, and record it in the model's provenance.

    Args:
        model: the model to change.
        path: a checkpoint, a run folder or the name of a pretrained model.

    Raises:
        MissingFileError: if the checkpoint does not exist.
        CheckpointError: if its encoder has another architecture.
    """
    source = resolve_checkpoint(path)
    other = checkpoint.load(source)
    encoder = model.encoder
    # Wrappers have no weights that were trained: compare and load the encoder inside.
    while isinstance(encoder.net, AffineTTA | FlipTTA | PrincipalComponents):
        encoder = encoder.net.net
    spec = getattr(encoder, "spec", None)
    other_spec = getattr(other.encoder, "spec", None)
    if spec != other_spec:
        raise CheckpointError(
            f"the encoder of {source} is {other_spec} and the configured one is {spec}; "
            "give the same encoder and arguments"
        )
    encoder.load_state_dict(other.encoder.state_dict())
    origin = describe_checkpoint(source)
    model.provenance = {"init_encoder": {**origin, **other.provenance}}


def fit_pca(model: GraphMethod, data: Dataset) -> None:
    """Fit the principal components of a `pca` encoder on items of a data set.

    Args:
        model: the model to change; other encoders stay unchanged.
        data: at most `MAX_PCA_ITEMS` evenly spaced items are used.

    Raises:
        ValueError: if there are fewer items than components.
    """
    net = getattr(model.encoder, "net", None)
    if not isinstance(net, PrincipalComponents):
        return
    # Evenly spaced instead of random: this needs no seed and covers a data set that is sorted
    # by class as a whole.
    n_items = min(MAX_PCA_ITEMS, len(data))
    index = torch.linspace(0, len(data) - 1, n_items).long()
    # A data set has no empty classes, so classes without a selected item are dropped.
    present, y = torch.unique(data.y[index], return_inverse=True)
    classes = tuple(data.classes[c] for c in present.tolist())
    subset = Dataset(data.name, data.split, data.x[index], y, classes)
    # `net.net` is the encoder without the projection, which has no axes yet.
    net.fit(encode(subset, net.net, progress=False).x)
