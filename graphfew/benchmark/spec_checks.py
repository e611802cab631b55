"""Checks across the tables of an episode benchmark that need no data."""

from __future__ import annotations

from graphfew.benchmark.method_config import MethodConfig, has_own_weights
from graphfew.benchmark.spec import EpisodeBenchmark
from graphfew.benchmark.spec_fields import suggest
from graphfew.benchmark.task_config import TaskConfig
from graphfew.benchmark.training_config import TrainingConfig
from graphfew.methods.registry import create, find_method
from graphfew.runs.factory import build_model, choose_loss, method_arguments


def with_default_names(spec: EpisodeBenchmark) -> EpisodeBenchmark:
    """Return the spec with the names and methods that entries leave out.

    Raises:
        SpecError: a row or training refers to a training that does not exist.
    """
    trainings: list[TrainingConfig] = []
    for index, training in enumerate(spec.trainings):
        # Tables are immutable, so that a hash stays valid; defaults are set on copies.
        training = training.model_copy(update={"name": training.name or training.method})
        names = [earlier.name for earlier in trainings]
        if training.name in names:
            raise spec.error(f"the name {training.name!r} is taken", "train", index, "name")
        # The order of the file is the order of training, and it rules out cycles.
        if training.init_from is not None and training.init_from not in names:
            message = f"no earlier training is called {training.init_from!r}; "
            message += suggest(training.init_from, names)
            raise spec.error(message, "train", index, "init_from")
        trainings.append(training)
    by_name = {training.name: training for training in trainings}
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
    changes: dict[str, object] = {"trainings": tuple(trainings), "methods": tuple(methods)}
    changes["compare_with"] = spec.compare_with or methods[0].name
    changes["title"] = spec.title or spec.name
    return spec.model_copy(update=changes)


def check_episode_benchmark(spec: EpisodeBenchmark) -> None:
    """Raise SpecError at the first entry that contradicts another or cannot be built."""
    names = [method.name for method in spec.methods]
    if spec.compare_with not in names:
        message = f"no row is called {spec.compare_with!r}; {suggest(spec.compare_with, names)}"
        raise spec.error(message, "compare_with")
    for index, method in enumerate(spec.methods):
        for other in spec.methods[:index]:
            _check_distinct(spec, other, method)
    for training in spec.trainings:
        _check_training(spec, training)
    for method in spec.methods:
        _check_method(spec, method)


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
            raise spec.method_error(
                f"an earlier row has this name and is also evaluated on {tasks}; rename one, or "
                "restrict each to its own tasks with only",
                second,
                "name" if "name" in second.model_fields_set else None,
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
                *("train", spec.trainings.index(training), key),
            )
    try:
        # Seeds change weights, not validity, so that a single one is built.
        choose_loss(config)
        build_model(config)
    except ValueError as error:
        raise spec.training_error(error, training) from error
    if training.init_from:
        for seed in training.seeds:
            spec.init_seed(training, seed)


def _check_method(spec: EpisodeBenchmark, method: MethodConfig) -> None:
    try:
        method.check_modes()
    except ValueError as error:
        raise spec.method_error(str(error), method, "mode") from error
    if method.train is None and has_own_weights(method.method):
        raise spec.method_error(
            f"{method.method} has weights that must be trained; add a [[train]] entry (with "
            "steps = 0 to evaluate it untrained) and refer to it with train",
            method,
            "method",
        )
    tasks = [config for config in spec.tasks if method.only.matches(config)]
    if not tasks:
        raise spec.method_error("no tasks match", method, "only")
    for config in tasks:
        _check_tasks(spec, method, config)
    if method.train is None and method.trainings:
        training = spec.training(method.trainings[0])
        try:
            # Built here, since a wrong argument would otherwise fail
            # after hours of training.
            encoder = build_model(spec.train_config(training, training.seeds[0])).encoder
            create(method.method, encoder=encoder, **method.factory_arguments(method.modes[0]))
        except (ValueError, TypeError) as error:
            raise spec.method_error(error, method) from error


def _check_tasks(spec: EpisodeBenchmark, method: MethodConfig, tasks: TaskConfig) -> None:
    """Raise SpecError if the method cannot be evaluated on the tasks."""
    facts = find_method(method.method)
    # The method would ignore the items silently, and its row would look
    # like one that uses them.
    if tasks.has_unlabeled and not facts.unlabeled and False in method.drops:
        raise spec.method_error(
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
            raise spec.method_error(
                f"{method.method} was trained for {key} {arguments.get(key)}, but [[tasks]] has "
                f"{key} {getattr(tasks, key)}; set only = {{ {key} = [{arguments.get(key)}] }}",
                method,
            )
