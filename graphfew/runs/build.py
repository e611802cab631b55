"""From a configuration to a model and its tasks, with every fault found before any work."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from graphfew._utils.model_spec import JSON
from graphfew.data import DATASETS, Dataset, Tasks, load
from graphfew.data.catalog import loader_arguments
from graphfew.data.query_sampling import parse_queries
from graphfew.methods.registry import find_method
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import GraphMethod, device_of
from graphfew.runs.config import TASKS, TrainConfig, ratios, span
from graphfew.runs.factory import adopt_encoder, build_model, choose_loss, find_components
from graphfew.runs.objectives import build_objective
from graphfew.runs.state import TrainingState

# Options that provenance tells where they are not the default ones.
TOLD = (
    "objective",
    "augment",
    "turns",
    "optimizer",
    "cosine",
    "warmup",
    "average",
    "patience",
    "precision",
    "components",
)
# Validation tasks are another stream than training tasks, also where both come from one split.
VALIDATION_STREAM = 1_000_003


def build(config: TrainConfig, *, resuming: bool = False) -> TrainingState:
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
    training, selection = (
        near(load_split(config.data, split, config.root, **config.data_arguments), device)
        for split in (config.split, config.validate)
    )
    tasks, validation = training_tasks(config, training), validation_tasks(config, selection)
    model = model.to(device)
    if not resuming and config.init_encoder is not None:
        adopt_encoder(model, config.init_encoder)
        find_components(model, training)
    model.encoder.requires_grad_(not config.freeze_encoder)
    model.provenance = {**provenance(config, tasks), **model.provenance}
    if config.objective == TASKS:
        look(model, tasks, loss)
    look(model, validation)
    return build_objective(
        config, TrainingState(model, tasks, validation, loss, None, model, model, tasks)
    )


def near(data: Dataset, device: torch.device) -> Dataset:
    """The data set with its items on that GPU, where they take a quarter of its free memory at most; else as it was."""
    if device.type != "cuda":
        return data
    free, _ = torch.cuda.mem_get_info(device)
    return data.to(device) if 4 * data.x.nbytes <= free else data


def load_split(name: str, split: str, root: str | None = None, **arguments: Any) -> Dataset:
    """A split of a data set by name, from the folder `root` where it is given; `arguments` go to its loader.

    Raises:
        ValueError: an unknown name, split or argument, or a root for a data set that has none.
        FileNotFoundError: `root` lacks the archive.
    """
    takes = inspect.signature(DATASETS[name]).parameters if name in DATASETS else {}
    if takes and "split" not in takes and split != "all":
        raise ValueError(f"{name} has no split {split!r}; its only one is all")
    if takes and "root" not in takes and root is not None:
        raise ValueError(f"{name} comes with the library and takes no root; leave it out")
    known = loader_arguments(name) if takes else {}
    unknown = sorted(set(arguments) - set(known))
    if takes and unknown:
        raise ValueError(
            f"{name} takes no argument {unknown[0]!r}; known: {', '.join(known) or 'none'}"
        )
    options = {"split": split, "root": root, **arguments}
    return load(
        name, **{key: value for key, value in options.items() if key in takes and value is not None}
    )


def training_tasks(config: TrainConfig, data: Dataset) -> Tasks:
    """The tasks that the run trains on. Raises ValueError as `Tasks` does."""
    return Tasks(
        data,
        way=span("way", config.way),
        shot=span("shot", config.shot),
        query=parse_queries(config.query),
        seed=config.schedule.seed,
        **_context(config),
    )


def validation_tasks(config: TrainConfig, data: Dataset) -> Tasks:
    """The tasks that the run selects on: seed `VALIDATION_STREAM` further. Raises ValueError as `Tasks` does."""
    way = config.validate_way or (config.way if find_method(config.method).fixed_way else "5")
    return Tasks(
        data,
        way=span("validate_way", way),
        shot=span("validate_shot", config.validate_shot or config.shot),
        query=parse_queries(config.validate_query),
        seed=config.schedule.seed + VALIDATION_STREAM,
        **_context(config),
    )


def _context(config: TrainConfig) -> dict[str, Any]:
    return {
        "unlabeled": span("unlabeled", config.unlabeled),
        "labeled_ratio": ratios(config.labeled_ratio),
        "distractors": span("distractors", config.distractors),
        "label_noise": config.label_noise,
        "within_groups": config.within_groups,
    }


def provenance(config: TrainConfig, tasks: Tasks) -> dict[str, JSON]:
    """What results tell of the training."""
    drawn = tasks.describe()
    learned = {key: value for key, value in drawn.items() if key not in ("data", "split", "seed")}
    plain, own = TrainConfig(config.method, config.data).flat(), config.flat()
    return {
        "training_seed": config.schedule.seed,
        "trained_on": f"{drawn['data']}/{drawn['split']}",
        "training_tasks": learned if config.objective == TASKS else None,
        "training_loss": getattr(choose_loss(config), "__name__", None),
        "steps": config.schedule.steps,
        "batch": config.schedule.batch,
        "encoder_frozen": config.freeze_encoder,
        **{name: own[name] for name in TOLD if own[name] != plain[name]},
    }


def look(
    model: GraphMethod, tasks: Tasks, loss: Callable[[Any, Tensor], Tensor] | None = None
) -> None:
    """Pass the first task through the model and the loss, so that what does not fit is refused now.

    Raises:
        ValueError: as the model or the loss does.
    """
    device = device_of(model)
    episode, target = tasks[0]
    with eval_mode(model):
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
