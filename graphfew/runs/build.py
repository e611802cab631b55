"""From a configuration to a model and its tasks; every error is raised before training starts."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from graphfew._utils.model_spec import JSON
from graphfew.data import DATASETS, Dataset, load
from graphfew.data.catalog import loader_arguments
from graphfew.data.sources import TaskSource
from graphfew.errors import ConfigurationError
from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.method import GraphMethod, device_of
from graphfew.runs.checkpoints import describe_checkpoint, resolve_checkpoint
from graphfew.runs.config import TrainConfig
from graphfew.runs.config_checks import TASKS
from graphfew.runs.factory import build_model, choose_loss, fit_pca, load_encoder_weights
from graphfew.runs.objectives import build_objective
from graphfew.runs.option_catalog import training_options
from graphfew.runs.schedule import FLOAT32, Schedule
from graphfew.runs.state import TrainingState, TrainingTasks
from graphfew.runs.task_sources import training_tasks, validation_tasks
from graphfew.training.precision import supports_bfloat16


def build_state(config: TrainConfig, *, resuming: bool = False) -> TrainingState:
    """Build the model, tasks, loss and optimizer, and run one task of each kind through them.

    Args:
        config: the configuration.
        resuming: the weights will come from a checkpoint, so `init_encoder` is not read.

    Returns:
        What `fit` trains.

    Raises:
        ValueError: for anything that would fail during the run.
        FileNotFoundError: if `init_encoder` or a data archive is missing.

    Example:
        >>> from graphfew.runs import TrainConfig, build_state
        >>> config = TrainConfig("prototypical", "glyphs", encoder_arguments={"width": 4})
        >>> build_state(config).validation.describe()["split"]
        'val'
    """
    # Cheap checks first: a wrong loss, device or argument is reported before data are loaded.
    loss = choose_loss(config)
    device = resolve_device(config.device)
    model = build_model(config)
    if config.freeze_encoder:
        model.on_features()  # raises if the features depend on the task
    training_data = _load_for(config, config.split, device)
    validation_data = _load_for(config, config.validate, device)
    tasks = training_tasks(config, training_data, device)
    validation = validation_tasks(config, validation_data)
    # Weights are drawn on the CPU and then moved, so a seed gives the same ones on every device.
    model = model.to(device)
    # On resuming the checkpoint has these weights, and the file of `init_encoder` may be gone.
    if not resuming and config.init_encoder is not None:
        load_encoder_weights(model, config.init_encoder)
        fit_pca(model, training_data)
    model.encoder.requires_grad_(not config.freeze_encoder)
    schedule = supported_schedule(config.schedule, device)
    # `load_encoder_weights` has recorded the origin of the encoder in the provenance; keep it.
    model.provenance = {**provenance(config, tasks, schedule), **model.provenance}
    if config.objective == TASKS:
        check_forward(model, tasks, loss)
    # For the objective `classes` the model sees tasks only in validation.
    check_forward(model, validation)
    state = TrainingState(
        model=model,
        tasks=tasks,
        validation=validation,
        schedule=schedule,
        loss=loss,
        optimizer=None,
        # By default the model itself is trained; `build_objective` may replace these three.
        method=model,
        learner=model,
        source=tasks,
    )
    return build_objective(config, state)


def supported_schedule(schedule: Schedule, device: torch.device) -> Schedule:
    """Replace bfloat16 by float32 where the device would emulate it, up to 200 times slower.

    Args:
        schedule: the configured schedule.
        device: the device of the model.

    Returns:
        The schedule to run.

    Example:
        >>> from graphfew.runs import Schedule
        >>> from graphfew.runs.build import supported_schedule
        >>> supported_schedule(Schedule(), torch.device("cpu")).precision
        'float32'
    """
    if schedule.precision == FLOAT32 or supports_bfloat16(device):
        return schedule
    return dataclasses.replace(schedule, precision=FLOAT32)


def _load_for(config: TrainConfig, split: str, device: torch.device) -> Dataset:
    """A split of the configured data set, on the GPU if it takes at most a quarter of its memory."""
    data = load_split(config.data, split, config.root, **config.data_arguments)
    if device.type != "cuda":
        return data
    free, _ = torch.cuda.mem_get_info(device)
    # At most a quarter of what is free: activations, gradients and optimizer state need the rest.
    return data.to(device) if 4 * data.x.nbytes <= free else data


def load_split(name: str, split: str, root: str | None = None, **arguments: Any) -> Dataset:
    """Load a split of a data set by name.

    Args:
        name: name of the data set.
        split: name of the split.
        root: folder of the archives; None for the default.
        arguments: keyword arguments of the loader.

    Returns:
        The data set.

    Raises:
        ConfigurationError: if the data set has no such split or argument, or takes no root.
        ValueError: if the name is unknown.
        FileNotFoundError: if `root` lacks the archive.

    Example:
        >>> from graphfew.runs import load_split
        >>> load_split("digits", "all").name
        'digits'
    """
    if name not in DATASETS:
        return load(name, split=split, root=root, **arguments)  # raises with the known names
    parameters = inspect.signature(DATASETS[name]).parameters
    # A loader without such a parameter would ignore the option silently; reject it instead.
    if "split" not in parameters and split != "all":
        raise ConfigurationError(f"{name} has no split {split!r}; its only one is all", key="split")
    if "root" not in parameters and root is not None:
        raise ConfigurationError(
            f"{name} is part of the library and takes no root; leave it out", key="root"
        )
    known = loader_arguments(name)
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        raise ConfigurationError(
            f"{name} takes no argument {unknown[0]!r}; expected one of: "
            f"{', '.join(known) or 'none'}",
            key="data_arguments",
        )
    options = {"split": split, "root": root, **arguments}
    # None is left out, so that the default of the loader applies.
    accepted = {
        key: value for key, value in options.items() if key in parameters and value is not None
    }
    return load(name, **accepted)


def provenance(config: TrainConfig, tasks: TrainingTasks, schedule: Schedule) -> dict[str, JSON]:
    """Describe the training, for the checkpoint and for the results of its evaluation.

    Args:
        config: the configuration.
        tasks: the training tasks.
        schedule: the schedule to run, whose precision the device supports.
    """
    description = tasks.describe()
    task_options = {
        key: value for key, value in description.items() if key not in ("data", "split", "seed")
    }
    if config.embedding is not None:
        task_options["embedding"] = describe_checkpoint(resolve_checkpoint(config.embedding))
    # Keys are read from old checkpoints too: keep them when options are renamed.
    facts: dict[str, JSON] = {
        "training_seed": config.schedule.seed,
        "trained_on": f"{description['data']}/{description['split']}",
        "training_tasks": task_options if config.objective == TASKS else None,
        "training_loss": getattr(choose_loss(config), "__name__", None),
        "steps": config.schedule.steps,
        "batch": config.schedule.batch,
        "encoder_frozen": config.freeze_encoder,
    }
    values = config.to_options()
    for name, option in training_options().items():
        # Defaults are left out: a new option does not change the provenance of runs without it.
        if option.recorded and values[name] != option.default:
            facts[name] = values[name]
    inner_training: dict[str, JSON] = {**config.updates.describe()}
    if inner_training:
        facts["inner_training"] = inner_training
    # The device may have replaced bfloat16 by float32; record what was used.
    if config.schedule.precision != FLOAT32:
        facts["precision_used"] = schedule.precision
    return facts


def check_forward(
    model: GraphMethod, tasks: TaskSource, loss: Callable[[Any, Tensor], Tensor] | None = None
) -> None:
    """Run the first task through the model and the loss, to find mismatches before training.

    Args:
        model: the model.
        tasks: its tasks.
        loss: the loss; None to run the model only.

    Raises:
        ValueError: if the model or the loss rejects the task.

    Example:
        >>> import graphfew as gf
        >>> from graphfew.runs.build import check_forward
        >>> model = gf.create("prototypical", encoder=gf.backbones.conv4(width=4))
        >>> check_forward(model, gf.Tasks(gf.data.digits()), gf.node_loss)
    """
    device = device_of(model)
    episode, target = tasks.batch(range(1))
    # In evaluation mode, or the check would move batch-norm statistics before the first step.
    with eval_mode(model):
        output = model(episode.to(device))
        if loss is not None:
            loss(output, target.to(device))


def resolve_device(name: str) -> torch.device:
    """Check that PyTorch can use a device.

    Args:
        name: such as `"cpu"` or `"cuda:0"`.

    Returns:
        The device.

    Raises:
        ConfigurationError: if the name is unknown or the device is not available.

    Example:
        >>> from graphfew.runs import resolve_device
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    try:
        # `torch.device` accepts every well-formed name; only an allocation shows whether the
        # device can be used. Without CUDA support, PyTorch raises an AssertionError there.
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(
            f"the device {name!r} cannot be used ({reason}); try cpu", key="device"
        ) from error
    return device
