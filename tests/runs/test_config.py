"""Options as records."""

import dataclasses

import pytest

from graphfew import runs


def test_settings_are_json_or_text():
    assert runs.settings(["a=1", "b=[1, 2]", "c=true", "d=cosine", "e=x=y", "f="]) == {
        "a": 1,
        "b": [1, 2],
        "c": True,
        "d": "cosine",
        "e": "x=y",
        "f": "",
    }
    for pairs, message in (
        (["a"], "not of the form"),
        (["=1"], "not of the form"),
        (["a=1", "a=2"], "given twice"),
    ):
        with pytest.raises(ValueError, match=message):
            runs.settings(pairs)


NUMBERS = [
    field
    for field in dataclasses.fields(runs.Schedule)
    if not isinstance(field.default, str | bool)
]


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field.name)
def test_a_schedule_is_checked_where_it_is_made(field):
    below = -1.0 if "float" in str(field.type) else -1
    with pytest.raises(ValueError, match=rf"{field.name} is {below}"):
        runs.Schedule(**{field.name: below})


@pytest.mark.parametrize(("name", "value"), [("optimizer", "lion"), ("precision", "int8")])
def test_a_name_that_is_not_known_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is '{value}'; known: "):
        runs.Schedule(**{name: value})


@pytest.mark.parametrize("text", ["", "x", "5-", "-5", "5-x", "5.0", "1-2-3"])
def test_a_number_of_tasks_that_cannot_be_read_is_named(text):
    with pytest.raises(ValueError, match="shot is"):
        runs.span("shot", text)


def test_a_number_of_tasks_is_one_or_a_range():
    assert (runs.span("shot", "5"), runs.span("shot", "5-20")) == (5, (5, 20))
