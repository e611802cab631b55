"""The model of a cell and the items that it is tested on: features where it takes them, each encoder's once."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import save
from torch import nn

from graphfew import backbones
from graphfew._utils.model_spec import JSON, ModelSpec
from graphfew.backbones import Backbone, affine_tta, flip_tta
from graphfew.backbones.wrappers import AffineTTA, ConcatEncoders
from graphfew.benchmark.experiments import Cell, chains
from graphfew.benchmark.method_config import Row, untrained_arguments
from graphfew.benchmark.training_jobs import folder
from graphfew.data import Dataset, encode
from graphfew.methods.registry import create
from graphfew.nn.method import GraphMethod
from graphfew.runs import RunDir, checkpoint_label
from graphfew.runs.evaluation import set_mode
from graphfew.runs.factory import build_model
from graphfew.serialization import checkpoint

# Features of so many encoders are kept: rows of several seeds on one training's encoders come one after another.
KEPT = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Shelf:
    """The items that a benchmark is tested on, and their features under the encoders that were asked last."""

    items: Dataset
    features: OrderedDict[str, Dataset] = dataclasses.field(default_factory=OrderedDict)

    def encoded(self, model: GraphMethod) -> Dataset:
        """The items' features under the model's encoder."""
        parts = [self._under(encoder) for encoder in apart(model.encoder)]
        if len(parts) == 1:
            return parts[0]
        return dataclasses.replace(self.items, x=torch.cat([part.x for part in parts], 1))

    def _under(self, encoder: nn.Module) -> Dataset:
        weights = {name: value.contiguous() for name, value in encoder.state_dict().items()}
        # Copies of an image are told by the recipe alone.
        recipe = str(getattr(encoder, "spec", None)).encode()
        key = hashlib.sha256(save(weights) + recipe).hexdigest()
        if key not in self.features:
            self.features[key] = encode(self.items, encoder, progress=False)
        self.features.move_to_end(key)
        while len(self.features) > KEPT:
            self.features.popitem(last=False)
        return self.features[key]


def apart(encoder: nn.Module) -> list[nn.Module]:
    """Encoders whose features side by side are this one's, so that rows may share theirs."""
    net = encoder.net if isinstance(encoder, Backbone) else None
    if isinstance(net, ConcatEncoders):
        return list(net.nets)
    if isinstance(encoder, Backbone) and isinstance(net, AffineTTA):
        inner = [cast(Backbone, part) for part in apart(net.net)]
        told = encoder.spec.arguments
        copies, strength = cast(int, told["copies"]), cast(float, told["strength"])
        return (
            [encoder] if len(inner) == 1 else [affine_tta(part, copies, strength) for part in inner]
        )
    return [encoder]


def model_of(cell: Cell, shelf: Shelf, out: Path, device: torch.device) -> GraphMethod:
    """The model that the cell asks for, its weights read.

    Raises:
        FileNotFoundError: the training's checkpoint is not there.
        ValueError: a checkpoint that cannot be read or has another start than the one beside it, or a method that
            refuses arguments or items.
    """
    if cell.row.train is not None:
        trained, _ = _checkpoints(cell, out, device)[0]
        return _viewed(
            set_mode(trained, cell.transductive, unlabeled=not cell.drop_unlabeled), cell.row
        )
    model = (
        _on_encoder(cell, out, device) if cell.row.trainings else _on_features(cell, shelf, device)
    )
    return _viewed(set_mode(model, None, unlabeled=not cell.drop_unlabeled), cell.row)


def untrained(cell: Cell, shelf: Shelf) -> GraphMethod:
    """A model of the same make as the cell's, with weights as drawn. Raises ValueError as `model_of` does."""
    row = cell.row
    if not row.trainings:
        return model_of(cell, shelf, Path(), torch.device("cpu"))
    trainings = [cell.spec.training(name) for name in row.trainings]
    models = [build_model(training.config(training.seeds[0])) for training in trainings]
    mode = cell.transductive
    if row.train is None:
        model, mode = (
            create(row.method, encoder=_joined(row, models), **untrained_arguments(row, mode)),
            None,
        )
    else:
        model = models[0]
    return _viewed(set_mode(model, mode, unlabeled=not cell.drop_unlabeled), row)


def ready(model: GraphMethod, shelf: Shelf) -> tuple[GraphMethod, Dataset]:
    """The model and what it is tested on: features where it takes them, with the same facts in its results."""
    if model.condition is not None or (model.spec is not None and _is_identity(model)):
        return model, shelf.items
    head = model.on_features()
    head.spec, head.provenance = model.spec, model.provenance
    return head, shelf.encoded(model)


def _viewed(model: GraphMethod, row: Row) -> GraphMethod:
    """The model with its encoder's features averaged over copies of the images, where the row asks so."""
    if row.views == 1 and row.mirror is None:
        return model
    if (
        model.condition is not None
        or not isinstance(model.encoder, Backbone)
        or _is_identity(model)
    ):
        raise row.table.fault(
            f"[[row]] {row.name!r}: {row.method} has no features of images to average over copies; "
            "leave views and mirror out",
            "views" if row.views > 1 else "mirror",
        )
    encoder = model.encoder if row.views == 1 else affine_tta(model.encoder, row.views)
    model.encoder = encoder if row.mirror is None else flip_tta(encoder, row.mirror)
    if model.spec is not None:
        made: JSON = {
            "name": model.encoder.spec.name,
            "arguments": dict(model.encoder.spec.arguments),
        }
        model.spec = ModelSpec(model.spec.name, {**model.spec.arguments, "encoder": made})
    return model


def _checkpoints(cell: Cell, out: Path, device: torch.device) -> list[tuple[GraphMethod, Path]]:
    """The models that the row reads, and the files of their weights."""
    found = []
    for steps in chains(cell.spec, cell.row, cell.seed):
        runs = [folder(cell.spec, training.name, seed, out) for training, seed in steps]
        model = checkpoint.load(runs[-1].best, device=device)
        if len(runs) > 1:
            _check_start(model, runs[-2], runs[-1])
        found.append((model, runs[-1].best))
    return found


def _check_start(model: GraphMethod, start: RunDir, run: RunDir) -> None:
    told = model.provenance.get("init_encoder")
    known = told.get("sha256") if isinstance(told, dict) else None
    if start.best.is_file() and known != hashlib.sha256(start.best.read_bytes()).hexdigest():
        raise ValueError(
            f"{run.folder} was trained from other weights than those in {start.folder}; move it away to "
            "train it anew"
        )


def _on_encoder(cell: Cell, out: Path, device: torch.device) -> GraphMethod:
    found = _checkpoints(cell, out, device)
    encoder = _joined(cell.row, [model for model, _ in found])
    model = create(
        cell.row.method, encoder=encoder, **untrained_arguments(cell.row, cell.transductive)
    )
    origins: list[JSON] = [
        {
            "checkpoint": checkpoint_label(best),
            "sha256": hashlib.sha256(best.read_bytes()).hexdigest(),
            **trained.provenance,
        }
        for trained, best in found
    ]
    chosen = dict.fromkeys(
        str(trained.provenance.get("selected_on") or "nothing") for trained, _ in found
    )
    model.provenance = {
        "training_seed": cell.seed,
        "selected_on": ", ".join(chosen),
        "init_encoder": origins if cell.row.together else origins[0],
    }
    return model.to(device)


def _joined(row: Row, models: Sequence[GraphMethod]) -> nn.Module:
    """The encoder that the row asks its method on."""
    if not row.together:
        return models[0].encoder
    return backbones.concat([cast(Backbone, model.encoder) for model in models])


def _on_features(cell: Cell, shelf: Shelf, device: torch.device) -> GraphMethod:
    x = shelf.items.x
    if x.ndim != 2 or not x.is_floating_point():
        raise cell.row.table.fault(
            f"[[row]] {cell.row.name!r}: {cell.row.method} needs features, and "
            f"{shelf.items.name} has items of shape {list(x.shape[1:])}; give on, the name of a "
            "[[train]] whose encoder makes features of them"
        )
    encoder = backbones.identity(int(x.shape[1]))
    return create(
        cell.row.method, encoder=encoder, **untrained_arguments(cell.row, cell.transductive)
    ).to(device)


def _is_identity(model: GraphMethod) -> bool:
    recipe = getattr(model.encoder, "spec", None)
    return recipe is not None and recipe.name == "identity"
