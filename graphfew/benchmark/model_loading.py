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
        CheckpointError: a checkpoint cannot be read or was initialized from other weights.
        InvalidInputError: the method refuses its arguments or the items.
    """
    trained = _load_checkpoints(experiment, out, device)
    model = _create_model(experiment, items, [model for model, _ in trained])
    if trained and experiment.method.train is None:
        model.provenance = _encoder_provenance(experiment, trained)
    return model.to(device)


def untrained_model(experiment: EpisodeExperiment, items: Dataset) -> GraphMethod:
    """Return the model of an experiment with initial weights."""
    spec = experiment.spec
    trainings = [spec.training(name) for name in experiment.method.trainings]
    configs = [spec.train_config(training, training.seeds[0]) for training in trainings]
    return _create_model(experiment, items, [build_model(config) for config in configs])


def _create_model(
    experiment: EpisodeExperiment, items: Dataset, trained: Sequence[GraphMethod]
) -> GraphMethod:
    """The model of a row, given the models of the trainings that it depends on."""
    method, transductive = experiment.method, experiment.transductive
    if method.train is not None:
        return _finish(trained[0], experiment, transductive)
    if method.encoders_from:
        encoder = backbones.concat([cast(Backbone, model.encoder) for model in trained])
    elif trained:
        encoder = cast(Backbone, trained[0].encoder)
    elif items.x.ndim == 2 and items.x.is_floating_point():
        encoder = backbones.identity(int(items.x.shape[1]))
    else:
        raise experiment.spec.row_error(
            f"{method.method} needs features, but {items.name} has items of shape "
            f"{list(items.x.shape[1:])}; set encoder_from to a training",
            method,
        )
    model = create(method.method, encoder=encoder, **method.factory_arguments(transductive))
    # The arguments already contain the mode.
    return _finish(model, experiment, None)


def _encoder_provenance(
    experiment: EpisodeExperiment, trained: Sequence[tuple[GraphMethod, Path]]
) -> dict[str, JSON]:
    """Where the encoder of an untrained method comes from."""
    origins: list[JSON] = []
    selected_on: list[str] = []
    for model, path in trained:
        origin = {"checkpoint": checkpoint_label(path), "sha256": _sha256(path)}
        origins.append({**origin, **model.provenance})
        selected_on.append(str(model.provenance.get("selected_on") or "nothing"))
    return {
        "training_seed": experiment.seed,
        "selected_on": ", ".join(dict.fromkeys(selected_on)),
        "init_encoder": origins if experiment.method.encoders_from else origins[0],
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
        raise experiment.spec.row_error(
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
    if first.best.is_file() and known != _sha256(first.best):
        raise CheckpointError(
            f"{run.folder} was initialized from other weights than those in {first.folder}; move "
            "it away to train it again"
        )


def _is_identity(model: GraphMethod) -> bool:
    spec = getattr(model.encoder, "spec", None)
    return spec is not None and spec.name == "identity"
