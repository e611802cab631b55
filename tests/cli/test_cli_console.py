"""Output on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from graphfew.cli import console
from graphfew.runs import Schedule, TrainingEvent, TrainingProgress, ValidationRecord
from graphfew.training.loop import TrainStep

SCHEDULE = Schedule(steps=4, batch=8)
EVENTS = [
    TrainingEvent(TrainingProgress(step=3), step=TrainStep(2, 1.5, 0.25)),
    TrainingEvent(TrainingProgress(step=4), step=TrainStep(3, 0.5, 0.75)),
    TrainingEvent(
        TrainingProgress(step=4, validated=4, best=0.5),
        record=ValidationRecord(4, 1.0, 0.5, 0.625, 0.125),
        improved=True,
    ),
]


@pytest.mark.parametrize("terminal", [True, False])
def test_training_display(terminal):
    screen = Console(file=io.StringIO(), force_terminal=terminal, width=150)
    with console.training_display(screen, SCHEDULE, start=2) as on_event:
        for event in EVENTS:
            on_event(event)
    shown = screen.file.getvalue()
    assert "step 4/4  loss 1.0000  accuracy 50.00 %  validation 62.50 ± 12.50 %" in shown
    assert ("loss 0.500  accuracy 0.750" in shown, "episodes/s" in shown, "4/4" in shown) == (
        terminal,
        terminal,
        True,
    )
    assert (len(shown.splitlines()) == 1) is not terminal


def test_validation_without_training():
    assert (
        console.format_validation(ValidationRecord(0, None, None, 0.5, 0.25), 0)
        == "step 0/0  validation 50.00 ± 25.00 %"
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_counter_display_is_for_terminals_only(terminal):
    screen = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with console.counter_display(screen, 10) as on_progress:
        on_progress("a/best", 10)
    assert ("a/best" in screen.file.getvalue()) is terminal
