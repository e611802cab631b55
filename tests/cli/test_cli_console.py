"""What is shown on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from graphfew.cli import console
from graphfew.runs import Schedule, TrainingProgress, ValidationEvent, ValidationRecord
from graphfew.training.loop import TrainStep

SCHEDULE = Schedule(steps=4, batch=8)
MOMENTS = [
    ValidationEvent(TrainingProgress(step=3), step=TrainStep(2, 1.5, 0.25)),
    ValidationEvent(TrainingProgress(step=4), step=TrainStep(3, 0.5, 0.75)),
    ValidationEvent(
        TrainingProgress(step=4, validated=4, best=0.5),
        record=ValidationRecord(4, 1.0, 0.5, 0.625, 0.125),
        improved=True,
    ),
]


@pytest.mark.parametrize("terminal", [True, False])
def test_training_shows_every_validation_and_on_a_terminal_every_step(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=150)
    with console.training(console, SCHEDULE, start=2) as watch:
        for moment in MOMENTS:
            watch(moment)
    shown = console.file.getvalue()
    assert "step 4/4  loss 1.0000  accuracy 50.00 %  validation 62.50 ± 12.50 %" in shown
    assert ("loss 0.500  accuracy 0.750" in shown, "episodes/s" in shown, "4/4" in shown) == (
        terminal,
        terminal,
        True,
    )
    assert (len(shown.splitlines()) == 1) is not terminal


def test_a_model_that_was_not_trained_shows_its_validation_alone():
    assert (
        console.line(ValidationRecord(0, None, None, 0.5, 0.25), 0)
        == "step 0/0  validation 50.00 ± 25.00 %"
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_counting_shows_only_on_a_terminal(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with console.counting(console, 10) as show:
        show("a/best", 10)
    assert ("a/best" in console.file.getvalue()) is terminal
