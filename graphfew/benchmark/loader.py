"""From a TOML file to a benchmark spec, checked as far as that needs no data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from graphfew.benchmark.method_config import MethodConfig, needs_trained_weights
from graphfew.benchmark.semi_supervised import SemiSupervisedBenchmark
from graphfew.benchmark.spec import EpisodeBenchmark
from graphfew.benchmark.spec_fields import SpecError, suggest, validate
from graphfew.benchmark.task_config import TaskConfig
from graphfew.benchmark.toml_file import read_toml
from graphfew.benchmark.training_config import TrainingConfig
from graphfew.methods.registry import create, find_method
from graphfew.runs import check_mode
from graphfew.runs.factory import build_model, choose_loss, method_arguments
from graphfew.serialization import pretrained

AnyBenchmark = EpisodeBenchmark | SemiSupervisedBenchmark
KINDS: Mapping[str, type[AnyBenchmark]] = {
    "episodes": EpisodeBenchmark,
    "semi_supervised": SemiSupervisedBenchmark,
}


def load_spec(path: Path) -> AnyBenchmark:
    """Read a benchmark spec and check everything that needs no data.

    Args:
        path: a TOML file.

    Returns:
        The spec, with default names filled in.

    Raises:
        MissingFileError: the file does not exist.
        ConfigurationError: the file is not TOML; if it is, a `SpecError` that names file, key,
            value and what is allowed.
    """
    content = read_toml(path)
    kind = content.get("kind", "episodes")
    if not isinstance(kind, str) or kind not in KINDS:
        raise SpecError(path, ("kind",), f"{str(kind)[:80]!r} is invalid; {suggest('', KINDS)}")
    spec = validate(KINDS[kind], path, content)
    # Before the checks, because their errors name the file.
    spec._path = path
    spec._digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if isinstance(spec, SemiSupervisedBenchmark):
        return spec.checked()
    return _checked(spec)


def _checked(spec: EpisodeBenchmark) -> EpisodeBenchmark:
    """Return the spec with default names, or raise SpecError at the first entry that is invalid."""
    spec = _with_default_names(spec)
    for index, method in enumerate(spec.methods):
        for other in spec.methods[:index]:
            _check_distinct(spec, other, method)
    for training in spec.trainings:
        _check_training(spec, training)
    for method in spec.methods:
        _check_method(spec, method)
    return spec


def _with_default_names(spec: EpisodeBenchmark) -> EpisodeBenchmark:
    by_name: dict[str, TrainingConfig] = {}
    for index, training in enumerate(spec.trainings):
        # Tables are immutable, so that a hash stays valid; defaults are set on copies.
        training = training.model_copy(update={"name": training.name or training.method})
        if training.name in by_name:
            raise spec.error(f"the name {training.name!r} is taken", "train", index, "name")
        # The order of the file is the order of training, and it rules out cycles.
        first = training.init_from
        if first is not None and first not in by_name and first not in pretrained.names():
            known = [*by_name, *pretrained.names()]
            message = (
                f"no earlier training or pretrained model is called {first!r}; "
                f"{suggest(first, known)}"
            )
            raise spec.error(message, "train", index, "init_from")
        by_name[training.name] = training
    methods: list[MethodConfig] = []
    for index, method in enumerate(spec.methods):
        for key in ("train", "encoder_from", "encoders_from"):
            value = getattr(method, key) or ()
            for name in (value,) if isinstance(value, str) else value:
                if name not in by_name:
                    message = f"no training is called {name!r}; {suggest(name, by_name)}"
                    raise spec.error(message, "row", index, key)
        name = by_name[method.train].method if method.train else method.method
        names_of_row = {"method": name, "name": method.name or method.train or name}
        methods.append(method.model_copy(update=names_of_row))
    texts = spec.default_texts([method.name for method in methods])
    entries = {"trainings": tuple(by_name.values()), "methods": tuple(methods)}
    return spec.model_copy(update={**entries, **texts})


def _check_distinct(spec: EpisodeBenchmark, first: MethodConfig, second: MethodConfig) -> None:
    """Entries of one name are one row of the tables, so they need different tasks or modes."""
    if first.name != second.name or not set(first.drops) & set(second.drops):
        return
    same_modes = set(first.modes) & set(second.modes)
    # The default mode of a method may be either, so it overlaps with both.
    default_mode = None in (*first.modes, *second.modes)
    if not same_modes and not default_mode:
        return
    for tasks in spec.tasks:
        if first.only.matches(tasks) and second.only.matches(tasks):
            raise spec.row_error(
                f"an earlier row has this name and is also evaluated on {tasks}; rename one, or "
                "restrict each to its own tasks with only",
                second,
                *({"name"} & second.model_fields_set),
            )


def _check_training(spec: EpisodeBenchmark, training: TrainingConfig) -> None:
    config = spec.train_config(training, training.seeds[0])
    # A training that has seen the test items, or selects its checkpoint on them, makes all
    # results of the spec too optimistic.
    for key in ("split", "validate"):
        split = getattr(config, key)
        if config.data == spec.data.test_set and split in (spec.data.test, "all"):
            raise spec.error(
                f"{split!r} of {config.data} contains the test items; choose another split",
                *(*spec.location(training), key),
            )
    with spec.errors_at(*spec.location(training)):
        # Seeds change weights, not validity, so that a single one is built.
        choose_loss(config)
        build_model(config)
    for seed in training.seeds:
        spec.training_chain(training.name, seed)


def _check_method(spec: EpisodeBenchmark, method: MethodConfig) -> None:
    with spec.errors_at(*spec.location(method), "mode", prefix=f"{method.name}: "):
        for transductive in method.modes:
            if transductive is not None:
                check_mode(method.method, transductive)
    if method.train is None and needs_trained_weights(method.method):
        raise spec.row_error(
            f"{method.method} has weights that must be trained; add a [[train]] entry (with "
            "steps = 0 to evaluate it untrained) and refer to it with train",
            method,
            "method",
        )
    tasks = [config for config in spec.tasks if method.only.matches(config)]
    if not tasks:
        raise spec.row_error("no tasks match", method, "only")
    for config in tasks:
        _check_tasks(spec, method, config)
    if method.train is None and method.trainings:
        training = spec.training(method.trainings[0])
        with spec.errors_at(*spec.location(method)):
            # Built here, since a wrong argument would otherwise fail
            # after hours of training.
            encoder = build_model(spec.train_config(training, training.seeds[0])).encoder
            create(method.method, encoder=encoder, **method.factory_arguments(method.modes[0]))


def _check_tasks(spec: EpisodeBenchmark, method: MethodConfig, tasks: TaskConfig) -> None:
    """Raise SpecError if the method cannot be evaluated on the tasks."""
    facts = find_method(method.method)
    # The method would ignore the items silently, and its row would look
    # like one that uses them.
    if tasks.has_unlabeled and not facts.unlabeled and False in method.drops:
        raise spec.row_error(
            f"{method.method} does not use unlabeled items, but some tasks have them; set "
            "drop_unlabeled = true, or only = { unlabeled = [0] }",
            method,
        )
    if method.train is None:
        return
    training = spec.training(method.train)
    arguments = method_arguments(spec.train_config(training, training.seeds[0]))
    for key, is_fixed in (("way", facts.fixed_way), ("shot", facts.fixed_shot)):
        if is_fixed and getattr(tasks, key).to_json() != arguments.get(key):
            raise spec.row_error(
                f"{method.method} was trained for {key} {arguments.get(key)}, but [[tasks]] has "
                f"{key} {getattr(tasks, key)}; set only = {{ {key} = [{arguments.get(key)}] }}",
                method,
            )
