"""Training with validation, without a folder."""

import math

import pytest
from small_runs import OPTIONS, lines

from graphfew import runs
from graphfew.runs.fit import due


def test_losses_and_accuracies_are_means_since_the_line_before(whole):
    job = runs.build(runs.TrainConfig.of(OPTIONS))
    steps = [
        m.step
        for m in runs.fit(
            job.model,
            job.tasks,
            job.validation,
            runs.TrainConfig.of(OPTIONS).schedule,
            loss=job.loss,
            optimizer=job.optimizer,
        )
        if m.step
    ]
    for record, part in zip(lines(whole), (steps[:3], steps[3:6], steps[6:]), strict=True):
        assert record["loss"] == pytest.approx(math.fsum(s.loss for s in part) / len(part))
        assert record["accuracy"] == pytest.approx(math.fsum(s.accuracy for s in part) / len(part))


def test_fit_serves_without_a_folder_or_validation():
    config = runs.TrainConfig.of(OPTIONS)
    job = runs.build(config)
    moments = list(runs.fit(job.model, job.tasks, None, config.schedule, loss=job.loss))
    assert [m.step.index for m in moments] == list(range(7))
    with pytest.raises(ValueError, match="no loss"):
        next(runs.fit(job.model, job.tasks, None, config.schedule, loss=None))


def test_validation_is_due_once():
    schedule = runs.Schedule(steps=7, validate_every=3)
    assert [s for s in range(8) if due(runs.TrainingProgress(step=s), schedule)] == [3, 6, 7]
    assert not due(runs.TrainingProgress(step=6, validated=6), schedule)


def test_equally_good_is_no_improvement(whole):
    config = runs.TrainConfig.of(OPTIONS)
    job = runs.build(config)
    best = lines(whole)[0]["validation_accuracy"]
    moments = runs.fit(
        job.model,
        job.tasks,
        job.validation,
        config.schedule,
        loss=job.loss,
        optimizer=job.optimizer,
        tally=runs.TrainingProgress(best=best),
    )
    first = next(moment for moment in moments if moment.record)
    assert (first.record.validation_accuracy, first.improved) == (best, False)
