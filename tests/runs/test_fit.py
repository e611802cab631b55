"""Training with validation, without a folder."""

import math

import pytest
from small_runs import OPTIONS, lines

from graphfew import runs


def test_losses_and_accuracies_are_means_since_the_last_record(complete_run):
    state = runs.build_state(runs.TrainConfig.from_options(OPTIONS))
    steps = [
        m.step
        for m in runs.fit(
            state.model,
            state.tasks,
            state.validation,
            runs.TrainConfig.from_options(OPTIONS).schedule,
            loss=state.loss,
            optimizer=state.optimizer,
        )
        if m.step
    ]
    for record, part in zip(lines(complete_run), (steps[:3], steps[3:6], steps[6:]), strict=True):
        assert record["loss"] == pytest.approx(math.fsum(s.loss for s in part) / len(part))
        assert record["accuracy"] == pytest.approx(math.fsum(s.accuracy for s in part) / len(part))


def test_fit_without_folder_or_validation():
    config = runs.TrainConfig.from_options(OPTIONS)
    state = runs.build_state(config)
    events = list(runs.fit(state.model, state.tasks, None, config.schedule, loss=state.loss))
    assert [m.step.index for m in events] == list(range(7))
    with pytest.raises(ValueError, match="no loss"):
        next(runs.fit(state.model, state.tasks, None, config.schedule, loss=None))


def test_each_validation_is_pending_once():
    schedule = runs.Schedule(steps=7, validate_every=3)
    assert [s for s in range(8) if runs.TrainingProgress(step=s).is_validation_step(schedule)] == [
        3,
        6,
        7,
    ]
    assert not runs.TrainingProgress(step=6, validated=6).is_validation_step(schedule)


def test_equal_accuracy_is_no_improvement(complete_run):
    config = runs.TrainConfig.from_options(OPTIONS)
    state = runs.build_state(config)
    best = lines(complete_run)[0]["validation_accuracy"]
    events = runs.fit(
        state.model,
        state.tasks,
        state.validation,
        config.schedule,
        loss=state.loss,
        optimizer=state.optimizer,
        progress=runs.TrainingProgress(best=best),
    )
    first = next(event for event in events if event.record)
    assert (first.record.validation_accuracy, first.improved) == (best, False)
