"""Configurations: parsing, checks and the declarations of options."""

import dataclasses
from pathlib import Path

import pytest

import graphfew as gf
from graphfew import runs
from graphfew.data.int_range import IntRange
from graphfew.errors import ConfigurationError
from graphfew.runs.option_catalog import read_options
from graphfew.runs.run_dir import read_config
from graphfew.runs.task_sources import training_tasks


def test_key_values_are_json_or_text():
    assert runs.parse_key_values(["a=1", "b=[1, 2]", "c=true", "d=cosine", "e=x=y", "f="]) == {
        "a": 1,
        "b": [1, 2],
        "c": True,
        "d": "cosine",
        "e": "x=y",
        "f": "",
    }
    for pairs, message in (
        (["a"], "does not have the form"),
        (["=1"], "does not have the form"),
        (["a=1", "a=2"], "given twice"),
    ):
        with pytest.raises(ValueError, match=message):
            runs.parse_key_values(pairs)


NUMBERS = [
    field
    for field in dataclasses.fields(runs.Schedule)
    if not isinstance(field.default, str | bool)
]


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field.name)
def test_schedule_checks_its_numbers(field):
    below = -1.0 if "float" in str(field.type) else -1
    with pytest.raises(ValueError, match=rf"{field.name} is {below}"):
        runs.Schedule(**{field.name: below})


@pytest.mark.parametrize(("name", "value"), [("optimizer", "lion"), ("precision", "int8")])
def test_schedule_checks_its_choices(name, value):
    with pytest.raises(ValueError, match=f"{name} is '{value}'; expected one of "):
        runs.Schedule(**{name: value})


@pytest.mark.parametrize("text", ["", "x", "5-", "-5", "5-x", "5.0", "1-2-3"])
def test_invalid_range_raises_with_its_option(text):
    with pytest.raises(ConfigurationError, match="shot is") as error:
        runs.TrainConfig("egnn", "glyphs", shot=text)
    assert error.value.key == "shot"


def test_number_of_tasks_is_one_or_a_range():
    for text, expected in (("5", 5), ("5-20", (5, 20))):
        config = runs.TrainConfig("egnn", "glyphs", shot=text)
        tasks = training_tasks(config, gf.data.digits())
        assert tasks.shot == IntRange.of(expected)


def test_every_option_has_one_declaration():
    options = runs.training_options()
    assert set(options) == set(runs.TrainConfig("egnn", "glyphs").to_options())
    assert all(option.help and option.group for option in options.values())
    assert len({option.flag for option in options.values()}) == len(options)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("way", 5, "5"),
        ("lr", "0.1", 0.1),
        ("steps", "7", 7),
        ("lr", 1, 1.0),
        ("cosine", True, True),
    ],
)
def test_values_of_other_formats_are_converted(name, value, expected):
    converted = runs.training_options()[name].parse_value(value)
    assert (converted, type(converted)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("name", "value"), [("steps", "x"), ("steps", 1.5), ("cosine", 1), ("arguments", "x")]
)
def test_values_of_another_type_raise_with_their_option(name, value):
    with pytest.raises(ConfigurationError, match=f"{name} is .*it must be") as error:
        runs.training_options()[name].parse_value(value)
    assert error.value.key == name


def test_options_of_earlier_versions_are_read():
    old = {
        "method": "nearest_neighbour",
        "data": "glyphs",
        "unlabelled": "2",
        "labelled_ratio": "1",
    }
    config = runs.TrainConfig.from_options(read_options({**old, "augment": "colour:0.4"}))
    assert (config.method, config.unlabeled, config.augment) == (
        "nearest_neighbor",
        "2",
        "color:0.4",
    )


RECORDS = sorted(
    (Path(__file__).parents[2] / "benchmarks" / "results" / "runs").rglob("config.json")
)


def test_configurations_of_benchmark_records_are_read():
    assert RECORDS
    for path in RECORDS:
        config, _ = read_config(runs.RunDir(path.parent))
        assert config.unlabeled
