"""From a configuration to a model and its tasks, with every fault found before any work."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from graphfew import backbones, checkpoint
from graphfew.audit import evaluating
from graphfew.data import Dataset, Tasks, catalogue, embed, load
from graphfew.data.queries import parse
from graphfew.layers import METRICS, Metric
from graphfew.losses import (
    Loss,
    dpgn_loss,
    edge_loss,
    joint_loss,
    known_nodes_loss,
    node_loss,
    pair_loss,
    relation_loss,
)
from graphfew.model import GraphMethod
from graphfew.recipe import JSON
from graphfew.registry import create, find
from graphfew.runs.config import TrainConfig, ratios, span
from graphfew.train import adam

# Validation tasks are another stream than training tasks, also where both come from one split.
VALIDATION_STREAM = 1_000_003
LOSSES: Mapping[str, Loss] = {"node": node_loss, "edge": edge_loss, "joint": joint_loss, "pair": pair_loss,
                              "relation": relation_loss, "known-nodes": known_nodes_loss, "dpgn": dpgn_loss}


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """What `fit` works on. `optimizer` and `loss` are None where nothing is trained."""

    model: GraphMethod
    tasks: Tasks
    validation: Tasks
    loss: Loss | None
    optimizer: torch.optim.Optimizer | None


def build(config: TrainConfig, *, resuming: bool = False) -> Job:
    """The model, its tasks, loss and optimizer; one task of each kind has passed through the model.

    Args:
        config: what is asked.
        resuming: the weights come from a checkpoint, so `init_encoder` is not read.

    Raises:
        ValueError: anything that the run would fail at.
        FileNotFoundError: `init_encoder` or a data archive is not there.
    """
    loss = choose_loss(config)
    device = find_device(config.device)
    model = build_model(config)
    if config.freeze_encoder:
        model.on_features()  # refuses a method whose features depend on the task
    training = load_split(config.data, config.split, config.root)
    selection = load_split(config.data, config.validate, config.root)
    job = Job(model.to(device), training_tasks(config, training), validation_tasks(config, selection), loss, None)
    if not resuming and config.init_encoder is not None:
        adopt_encoder(model, config.init_encoder)
    model.encoder.requires_grad_(not config.freeze_encoder)
    model.provenance = {**provenance(config, job.tasks), **model.provenance}
    look(model, job.tasks, loss)
    look(model, job.validation)
    schedule = config.schedule
    optimizer = adam(model, lr=schedule.lr, weight_decay=schedule.weight_decay) if schedule.steps else None
    return dataclasses.replace(job, optimizer=optimizer)


def without_encoder(job: Job) -> Job:
    """The same job on items that are encoded already, for an encoder that does not learn: layers are shared."""
    tasks, validation = (dataclasses.replace(t, data=embed(t.data, job.model.encoder, progress=False))
                         for t in (job.tasks, job.validation))
    return dataclasses.replace(job, model=job.model.on_features(), tasks=tasks, validation=validation)


def load_split(name: str, split: str, root: str | None = None) -> Dataset:
    """A split of a data set by name, from the folder `root` where it is given.

    Raises:
        ValueError: an unknown name or split, or a root for a data set that has none.
        FileNotFoundError: `root` lacks the archive.
    """
    takes = inspect.signature(catalogue[name]).parameters if name in catalogue else {}
    if takes and "split" not in takes and split != "all":
        raise ValueError(f"{name} has no split {split!r}; its only one is all")
    if takes and "root" not in takes and root is not None:
        raise ValueError(f"{name} comes with the library and takes no root; leave it out")
    options = {"split": split, "root": root}
    return load(name, **{key: value for key, value in options.items() if key in takes and value is not None})


def training_tasks(config: TrainConfig, data: Dataset) -> Tasks:
    """The tasks that the run trains on. Raises ValueError as `Tasks` does."""
    return Tasks(data, way=span("way", config.way), shot=span("shot", config.shot), query=parse(config.query),
                 seed=config.schedule.seed, **_context(config))


def validation_tasks(config: TrainConfig, data: Dataset) -> Tasks:
    """The tasks that the run selects on: seed `VALIDATION_STREAM` further. Raises ValueError as `Tasks` does."""
    way = config.validate_way or (config.way if find(config.method).fixed_way else "5")
    return Tasks(data, way=span("validate_way", way), shot=span("validate_shot", config.validate_shot or config.shot),
                 query=parse(config.validate_query), seed=config.schedule.seed + VALIDATION_STREAM, **_context(config))


def _context(config: TrainConfig) -> dict[str, Any]:
    return {"unlabelled": span("unlabelled", config.unlabelled), "labelled_ratio": ratios(config.labelled_ratio),
            "distractors": span("distractors", config.distractors), "within_groups": config.within_groups}


def build_model(config: TrainConfig) -> GraphMethod:
    """The untrained model, its weights drawn from the seed. Raises ValueError for what the factories refuse."""
    arguments = method_arguments(config)
    seed = config.schedule.seed
    try:
        encoder = backbones.create(config.encoder, **{"seed": seed, **config.encoder_arguments})
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{config.encoder} cannot be built with {dict(config.encoder_arguments)}: {error}") from error
    try:
        return create(config.method, encoder=encoder, seed=seed, **arguments)
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{config.method} cannot be built with {arguments}: {error}") from error


def method_arguments(config: TrainConfig) -> dict[str, Any]:
    """The arguments of the method's factory, with its mode, its way and its metric in place.

    Raises:
        ValueError: a mode that the method does not have, a range of ways for a fixed one, or an unknown metric.
    """
    method = find(config.method)
    arguments: dict[str, Any] = dict(config.arguments)
    if method.fixed_way and not isinstance(span("way", config.way), int):
        raise ValueError(f"{config.method} is built for one number of classes and way is {config.way}; give one number")
    if method.fixed_way:
        arguments.setdefault("way", span("way", config.way))
    if method.fixed_shot and not isinstance(span("shot", config.shot), int):
        raise ValueError(f"{config.method} is built for one number of shots and shot is {config.shot}; give one number")
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
    method = find(name)
    if not (method.transductive if transductive else method.inductive):
        has, lacks = ("inductive", "transductive") if transductive else ("transductive", "inductive")
        raise ValueError(f"{name} is {has} only; it cannot be made {lacks}")


def choose_loss(config: TrainConfig) -> Loss | None:
    """The loss by name, else the method's own; None where no step is asked.

    Raises:
        ValueError: an unknown name, or a method that needs no training and no loss given.
    """
    if config.loss is not None and config.loss not in LOSSES:
        raise ValueError(f"no loss is called {config.loss!r}; known: {', '.join(LOSSES)}")
    method = find(config.method)
    loss = LOSSES[config.loss] if config.loss is not None else method.loss
    if loss is None and config.schedule.steps:
        raise ValueError(f"{config.method} needs no training: give steps=0 to write it as it is, or a loss "
                         f"({', '.join(LOSSES)}) to train its encoder through it")
    return loss if config.schedule.steps else None


def adopt_encoder(model: GraphMethod, path: str) -> None:
    """Give the model the encoder weights of another checkpoint, and note so in its provenance.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: an encoder of another recipe.
    """
    source = best_of(path)
    other = checkpoint.load(source)
    recipes = [getattr(m.encoder, "recipe", None) for m in (other, model)]
    if recipes[0] != recipes[1]:
        raise ValueError(f"the encoder of {source} is {recipes[0]} and the one asked for is {recipes[1]}; "
                         "give the same encoder and arguments")
    model.encoder.load_state_dict(other.encoder.state_dict())
    facts = {"checkpoint": label(source), "sha256": hashlib.sha256(source.read_bytes()).hexdigest()}
    model.provenance = {"init_encoder": {**facts, **other.provenance}}


def best_of(path: str | Path) -> Path:
    """The checkpoint meant by a file, or by a run folder: its best. Raises FileNotFoundError where there is none."""
    path = Path(path)
    if path.is_dir():
        path = path / "best.safetensors"
    elif path.suffix != checkpoint.SUFFIX:
        path = path.with_name(path.name + checkpoint.SUFFIX)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}; give a .safetensors file or a run folder that has a "
                                "best one")
    return path


def label(path: Path) -> str:
    """A checkpoint's name without the folders above its run."""
    return "/".join(path.parts[-2:]) if len(path.parts) > 1 else path.name


def provenance(config: TrainConfig, tasks: Tasks) -> dict[str, JSON]:
    """What results tell of the training."""
    drawn = tasks.describe()
    return {"training_seed": config.schedule.seed, "trained_on": f"{drawn['data']}/{drawn['split']}",
            "training_tasks": {key: value for key, value in drawn.items() if key not in ("data", "split", "seed")},
            "training_loss": getattr(choose_loss(config), "__name__", None),
            "steps": config.schedule.steps, "batch": config.schedule.batch, "encoder_frozen": config.freeze_encoder}


def look(model: GraphMethod, tasks: Tasks, loss: Loss | None = None) -> None:
    """Pass the first task through the model and the loss, so that what does not fit is refused now.

    Raises:
        ValueError: as the model or the loss does.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    episode, target = tasks[0]
    with evaluating(model):
        out = model(episode.to(device))
        if loss is not None:
            loss(out, target.to(device))


def find_device(name: str) -> torch.device:
    """Raises ValueError where torch does not know it or this computer does not have it."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"the device {name!r} cannot be used ({reason}); try cpu") from error
    return device
