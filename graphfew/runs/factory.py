"""The model and the loss that a configuration asks for, and checkpoints by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphfew import backbones
from graphfew.backbones.principal_components import PrincipalComponents
from graphfew.backbones.wrappers import AffineTTA, FlipTTA
from graphfew.data import Dataset, encode
from graphfew.methods.losses import LOSSES
from graphfew.methods.registry import create, find_method
from graphfew.nn.layers import METRICS, Metric
from graphfew.nn.method import GraphMethod
from graphfew.runs.config import CLASSES, TrainConfig, span
from graphfew.serialization import checkpoint, pretrained
from graphfew.training.pretrain import class_loss

# Enough to tell the directions of most variance, and few enough to encode twice.
COMPONENTS_FROM = 4000


def build_model(config: TrainConfig) -> GraphMethod:
    """The untrained model, its weights drawn from the seed. Raises ValueError for what the factories refuse."""
    arguments = method_arguments(config)
    seed = config.schedule.seed
    try:
        encoder = backbones.create(config.encoder, **{"seed": seed, **config.encoder_arguments})
        encoder = encoder if config.views == 1 else backbones.affine_tta(encoder, config.views)
        encoder = encoder if config.mirror is None else backbones.flip_tta(encoder, config.mirror)
        encoder = (
            encoder if config.components is None else backbones.pca(encoder, config.components)
        )
    except (TypeError, RuntimeError, OverflowError, MemoryError) as error:
        raise _unbuilt(config.encoder, dict(config.encoder_arguments), error) from error
    try:
        return create(config.method, encoder=encoder, seed=seed, **arguments)
    except (TypeError, RuntimeError, OverflowError, MemoryError) as error:
        raise _unbuilt(config.method, arguments, error) from error


def _unbuilt(name: str, arguments: Mapping[str, Any], error: BaseException) -> ValueError:
    return ValueError(
        f"{name[:80]} cannot be built with {str(arguments)[:500]}: {str(error)[:500]}"
    )


def method_arguments(config: TrainConfig) -> dict[str, Any]:
    """The arguments of the method's factory, with its mode, its way and its metric in place.

    Raises:
        ValueError: a mode that the method does not have, a range of ways for a fixed one, or an unknown metric.
    """
    method = find_method(config.method)
    arguments: dict[str, Any] = dict(config.arguments)
    if method.fixed_way and not isinstance(span("way", config.way), int):
        raise ValueError(
            f"{config.method} is built for one number of classes and way is {config.way}; give one number"
        )
    if method.fixed_way:
        arguments.setdefault("way", span("way", config.way))
    if method.fixed_shot and not isinstance(span("shot", config.shot), int):
        raise ValueError(
            f"{config.method} is built for one number of shots and shot is {config.shot}; give one number"
        )
    if method.fixed_shot:
        arguments.setdefault("shot", span("shot", config.shot))
    if isinstance(arguments.get("metric"), str):
        arguments["metric"] = _metric(arguments["metric"])
    if config.transductive is not None:
        check_mode(config.method, config.transductive)
        if method.inductive and method.transductive:
            arguments["transductive"] = config.transductive
    return arguments


def _metric(name: str) -> Metric:
    if name not in METRICS:
        raise ValueError(f"no metric is called {name!r}; known: {', '.join(METRICS)}")
    return METRICS[name]


def check_mode(name: str, transductive: bool) -> None:
    """Raises ValueError where the method does not have that mode."""
    method = find_method(name)
    if not (method.transductive if transductive else method.inductive):
        has, lacks = (
            ("inductive", "transductive") if transductive else ("transductive", "inductive")
        )
        raise ValueError(f"{name} is {has} only; it cannot be made {lacks}")


def choose_loss(config: TrainConfig) -> Callable[[Any, Tensor], Tensor] | None:
    """The loss by name, else the method's own; None where no step is asked.

    Raises:
        ValueError: an unknown name, or a method that needs no training and no loss given.
    """
    if config.loss is not None and config.loss not in LOSSES:
        raise ValueError(f"no loss is called {config.loss!r}; known: {', '.join(LOSSES)}")
    if config.objective == CLASSES:
        return class_loss if config.schedule.steps else None
    method = find_method(config.method)
    loss = LOSSES[config.loss] if config.loss is not None else method.loss
    if loss is None and config.schedule.steps:
        raise ValueError(
            f"{config.method} needs no training: give steps=0 to write it as it is, or a loss "
            f"({', '.join(LOSSES)}) to train its encoder through it"
        )
    return loss if config.schedule.steps else None


def adopt_encoder(model: GraphMethod, path: str) -> None:
    """Give the model the encoder weights of another checkpoint, and note so in its provenance.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: an encoder of another recipe.
    """
    source = resolve_checkpoint(path)
    other = checkpoint.load(source)
    own = model.encoder
    while isinstance(own.net, AffineTTA | FlipTTA | PrincipalComponents):
        own = own.net.net
    recipes = [getattr(encoder, "spec", None) for encoder in (other.encoder, own)]
    if recipes[0] != recipes[1]:
        raise ValueError(
            f"the encoder of {source} is {recipes[0]} and the one asked for is {recipes[1]}; "
            "give the same encoder and arguments"
        )
    own.load_state_dict(other.encoder.state_dict())
    facts = {"checkpoint": label(source), "sha256": hashlib.sha256(source.read_bytes()).hexdigest()}
    model.provenance = {"init_encoder": {**facts, **other.provenance}}


def find_components(model: GraphMethod, data: Dataset) -> None:
    """Turn the features of a `principal` encoder to the principal components of items evenly taken from the data, at
    most `COMPONENTS_FROM`; other encoders stay as they are.

    Raises:
        ValueError: fewer items than components.
    """
    net = getattr(model.encoder, "net", None)
    if not isinstance(net, PrincipalComponents):
        return
    chosen = torch.linspace(0, len(data) - 1, min(COMPONENTS_FROM, len(data))).long()
    # Of very many classes some have no item here, and a data set has no empty class.
    kept, y = torch.unique(data.y[chosen], return_inverse=True)
    some = Dataset(
        data.name, data.split, data.x[chosen], y, tuple(data.classes[c] for c in kept.tolist())
    )
    net.fit(encode(some, net.net, progress=False).x)


def resolve_checkpoint(path: str | Path) -> Path:
    """The checkpoint meant by a file, a run folder (its best) or the name of one that comes with the library.

    Raises:
        FileNotFoundError: there is none.
    """
    name, path = str(path), Path(path)
    if path.is_dir():
        path = path / "best.safetensors"
    elif path.suffix != checkpoint.SUFFIX:
        path = path.with_name(path.name + checkpoint.SUFFIX)
    if not path.is_file() and name in pretrained.names():
        return pretrained.path(name)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no checkpoint {path}; give a .safetensors file or a run folder that has a "
            "best one"
        )
    return path


def label(path: Path) -> str:
    """A checkpoint's name without the folders above its run."""
    return "/".join(path.parts[-2:]) if len(path.parts) > 1 else path.name
