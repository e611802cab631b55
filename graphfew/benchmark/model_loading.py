"""The model of an experiment, and cached features of the test items."""

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
from graphfew.backbones import Backbone
from graphfew.backbones.wrappers import AffineTTA, ConcatEncoders
from graphfew.benchmark.experiments import EpisodeExperiment
from graphfew.benchmark.method_config import MethodConfig
from graphfew.benchmark.training_jobs import training_run
from graphfew.data import Dataset, encode
from graphfew.errors import CheckpointError
from graphfew.methods.registry import create
from graphfew.nn.method import GraphMethod
from graphfew.runs import RunDir, checkpoint_label
from graphfew.runs.evaluation import set_mode
from graphfew.runs.factory import build_model
from graphfew.serialization import checkpoint

# Rows with several training seeds use the same few encoders one after another.
MAX_CACHED_ENCODERS = 8


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureCache:
    """The test items, and their features under the most recently used encoders."""

    items: Dataset
    features: OrderedDict[str, Dataset] = dataclasses.field(default_factory=OrderedDict)

    def encode(self, model: GraphMethod) -> Dataset:
        """Return the features of the items under the model's encoder."""
        # Concatenated encoders are cached one by one, so a row that combines five encoders
        # reuses the features of the rows that use one.
        parts = [self._encode_one(encoder) for encoder in split_encoder(model.encoder)]
        if len(parts) == 1:
            return parts[0]
        return dataclasses.replace(self.items, x=torch.cat([part.x for part in parts], 1))

    def _encode_one(self, encoder: nn.Module) -> Dataset:
        # safetensors rejects views with other strides.
        weights = {name: value.contiguous() for name, value in encoder.state_dict().items()}
        # Weights do not tell how many copies of an image are averaged; the model spec does.
        spec = str(getattr(encoder, "spec", None)).encode()
        # By content: two checkpoints may have the same frozen encoder.
        key = hashlib.sha256(save(weights) + spec).hexdigest()
        if key not in self.features:
            self.features[key] = encode(self.items, encoder, progress=False)
        self.features.move_to_end(key)
        while len(self.features) > MAX_CACHED_ENCODERS:
            self.features.popitem(last=False)
        return self.features[key]


def split_encoder(encoder: nn.Module) -> list[nn.Module]:
    """Return encoders whose concatenated features are those of `encoder`.

    Rows that share some of these encoders then encode every image once.
    """
    if not isinstance(encoder, Backbone):
        return [encoder]
    if isinstance(encoder.net, ConcatEncoders):
        return list(encoder.net.nets)
    if isinstance(encoder.net, AffineTTA):
        parts = [cast(Backbone, part) for part in split_encoder(encoder.net.net)]
        if len(parts) == 1:
            return [encoder]
        arguments = encoder.spec.arguments
        # Averages over copies commute with concatenation, so that each part is averaged by
        # itself.
        copies, strength = cast(int, arguments["copies"]), cast(float, arguments["strength"])
        return [backbones.affine_tta(part, copies, strength) for part in parts]
    return [encoder]


def load_model(
    experiment: EpisodeExperiment, items: Dataset, out: Path, device: torch.device
) -> GraphMethod:
    """Return the model of an experiment with its trained weights.

    Raises:
        FileNotFoundError: a checkpoint is missing.
        ValueError: a checkpoint cannot be read or was initialized from other weights, or the
            method refuses its arguments or the items.
    """
    method = experiment.method
    if not method.trainings:
        return _finish(_create_on_features(experiment, items).to(device), experiment, None)
    trained = _load_checkpoints(experiment, out, device)
    if method.train is not None:
        return _finish(trained[0][0], experiment, experiment.transductive)
    model = _create_on_encoder(experiment, [model for model, _ in trained])
    origins: list[JSON] = []
    for source, path in trained:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        origins.append(
            {"checkpoint": checkpoint_label(path), "sha256": sha256, **source.provenance}
        )
    selected_on = dict.fromkeys(
        str(source.provenance.get("selected_on") or "nothing") for source, _ in trained
    )
    model.provenance = {
        "training_seed": experiment.seed,
        "selected_on": ", ".join(selected_on),
        "init_encoder": origins if method.encoders_from else origins[0],
    }
    return _finish(model.to(device), experiment, None)


def untrained_model(experiment: EpisodeExperiment, items: Dataset) -> GraphMethod:
    """Return the model of an experiment with initial weights. Raises ValueError if impossible."""
    spec, method = experiment.spec, experiment.method
    if not method.trainings:
        return _finish(_create_on_features(experiment, items), experiment, None)
    models: list[GraphMethod] = []
    for name in method.trainings:
        training = spec.training(name)
        models.append(build_model(spec.train_config(training, training.seeds[0])))
    if method.train is not None:
        return _finish(models[0], experiment, experiment.transductive)
    return _finish(_create_on_encoder(experiment, models), experiment, None)


def model_and_items(model: GraphMethod, cache: FeatureCache) -> tuple[GraphMethod, Dataset]:
    """Return a model and the items to evaluate it on: features, if its encoder allows it."""
    # An encoder that is conditioned on its task has other features in each of them.
    if model.condition is not None or (model.spec is not None and _is_identity(model)):
        return model, cache.items
    # The record describes the whole model, although only its head is run.
    head = model.on_features()
    head.spec, head.provenance = model.spec, model.provenance
    return head, cache.encode(model)


def _finish(
    model: GraphMethod, experiment: EpisodeExperiment, transductive: bool | None
) -> GraphMethod:
    model = set_mode(model, transductive, unlabeled=not experiment.drop_unlabeled)
    method = experiment.method
    if method.views == 1 and method.mirror is None:
        return model
    # Copies are made of images; features, or encoders that see the task, have none.
    has_image_features = isinstance(model.encoder, Backbone) and not _is_identity(model)
    if model.condition is not None or not has_image_features:
        raise experiment.spec.method_error(
            f"{method.method} has no image features to average; omit views and mirror",
            method,
            "views" if method.views > 1 else "mirror",
        )
    encoder = cast(Backbone, model.encoder)
    if method.views > 1:
        encoder = backbones.affine_tta(encoder, method.views)
    if method.mirror is not None:
        encoder = backbones.flip_tta(encoder, method.mirror)
    model.encoder = encoder
    if model.spec is not None:
        spec: JSON = {"name": encoder.spec.name, "arguments": dict(encoder.spec.arguments)}
        model.spec = ModelSpec(model.spec.name, {**model.spec.arguments, "encoder": spec})
    return model


def _load_checkpoints(
    experiment: EpisodeExperiment, out: Path, device: torch.device
) -> list[tuple[GraphMethod, Path]]:
    """Return the models that a row reads, with the files of their weights."""
    spec = experiment.spec
    loaded: list[tuple[GraphMethod, Path]] = []
    for chain in spec.checkpoint_chains(experiment.method, experiment.seed):
        runs = [training_run(spec, training.name, seed, out) for training, seed in chain]
        model = checkpoint.load(runs[-1].best, device=device)
        if len(runs) > 1:
            _check_initialization(model, runs[-2], runs[-1])
        loaded.append((model, runs[-1].best))
    return loaded


def _check_initialization(model: GraphMethod, first: RunDir, run: RunDir) -> None:
    # The first training may have been repeated since, with other weights under the same path.
    origin = model.provenance.get("init_encoder")
    known = origin.get("sha256") if isinstance(origin, dict) else None
    if first.best.is_file() and known != hashlib.sha256(first.best.read_bytes()).hexdigest():
        raise CheckpointError(
            f"{run.folder} was initialized from other weights than those in {first.folder}; move "
            "it away to train it again"
        )


def _create_on_encoder(experiment: EpisodeExperiment, models: Sequence[GraphMethod]) -> GraphMethod:
    method: MethodConfig = experiment.method
    encoder = models[0].encoder
    if method.encoders_from:
        encoder = backbones.concat([cast(Backbone, model.encoder) for model in models])
    arguments = method.factory_arguments(experiment.transductive)
    return create(method.method, encoder=encoder, **arguments)


def _create_on_features(experiment: EpisodeExperiment, items: Dataset) -> GraphMethod:
    method = experiment.method
    if items.x.ndim != 2 or not items.x.is_floating_point():
        raise experiment.spec.method_error(
            f"{method.method} needs features, but {items.name} has items of shape "
            f"{list(items.x.shape[1:])}; set encoder_from to a training",
            method,
        )
    encoder = backbones.identity(int(items.x.shape[1]))
    arguments = method.factory_arguments(experiment.transductive)
    return create(method.method, encoder=encoder, **arguments)


def _is_identity(model: GraphMethod) -> bool:
    spec = getattr(model.encoder, "spec", None)
    return spec is not None and spec.name == "identity"
