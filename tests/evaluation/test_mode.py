"""Evaluation modes and their text form."""

from __future__ import annotations

import itertools

import pytest

from graphfew.evaluation import EvaluationMode

FLAGS = [flags for flags in itertools.product([False, True], repeat=4) if flags[1:3] != (1, 1)]


@pytest.mark.parametrize("flags", FLAGS)
def test_text_form_round_trips(flags: tuple[bool, bool, bool, bool]) -> None:
    mode = EvaluationMode(*flags)
    assert EvaluationMode.parse(str(mode)) == mode


def test_text_forms_are_those_of_reports() -> None:
    dropped = EvaluationMode(transductive=False, unlabeled_dropped=True, transductive_bn=True)
    assert str(dropped) == "inductive, unlabeled nodes dropped, transductive batch norm"
    assert str(EvaluationMode(transductive=True, unlabeled=True)) == "semi-supervised, transductive"


@pytest.mark.parametrize("text", ["", "magic", "transductive, inductive", "inductive, inductive"])
def test_other_text_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="unknown evaluation mode"):
        EvaluationMode.parse(text)


def test_unlabeled_items_are_not_both_used_and_dropped() -> None:
    with pytest.raises(ValueError, match="not both"):
        EvaluationMode(transductive=True, unlabeled=True, unlabeled_dropped=True)
