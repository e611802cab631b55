"""Runs with Reptile, FOML and Leap: they resume exactly, and learn networks to fine-tune."""

import pytest
import torch
from small_runs import OPTIONS, lines, same_files, stop_after

import graphfew as gf
from graphfew import runs
from graphfew.runs.update_options import UpdateOptions

PLAIN = {
    **{name: value for name, value in OPTIONS.items() if name not in ("halve_every", "seed")},
    "method": "maml",
    "query": "2",
    "shot": "3",
    "data_arguments": {"size": 16},
    "encoder_arguments": {"width": 4, "size": 16},
    "arguments": {"start": "own_rows", "way": 3, "steps": 2, "step_size": 0.1, "first_order": True},
    "save_every": 2,
    "steps": 3,
    "validate_every": 3,
    "validate_tasks": 2,
}
KINDS = {
    "reptile": {
        "update": "reptile",
        "inner_steps": 3,
        "inner_batch": 4,
        "optimizer": "plain-sgd",
        "linear": True,
        "lr": 1.0,
    },
    "foml": {"update": "foml", "inner_tail": True, "inner_steps": 2},
    "leap": {
        "update": "leap",
        "inner_steps": 2,
        "inner_optimizer": "sgd",
        "inner_lr": 0.1,
        "average": 0.5,
    },
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_resumes_exactly(kind, tmp_path):
    options = {**PLAIN, **kind}
    runs.execute(runs.prepare(tmp_path / "whole", options))
    with pytest.raises(runs.TrainingInterrupted):
        runs.execute(runs.prepare(tmp_path / "parts", options), should_stop=stop_after(2))
    runs.execute(runs.resume(tmp_path / "parts", {}))
    assert all(same_files(tmp_path / "whole", tmp_path / "parts").values())
    facts = gf.load(tmp_path / "whole" / "last").provenance
    assert facts["update"] == kind["update"]
    assert facts["inner_training"]["inner_steps"] == kind.get("inner_steps", 5)


def test_reptile_learns_a_network_to_fine_tune(tmp_path):
    options = {
        **PLAIN,
        **KINDS["reptile"],
        "shot": "5",
        "encoder_arguments": {"width": 8, "size": 16},
        "inner_optimizer": "sgd",
        "inner_lr": 0.1,
        "inner_steps": 6,
        "inner_batch": 15,
        "steps": 25,
        "validate_every": 25,
        "validate_tasks": 20,
        "validate_query": "5",
    }
    untrained = {name: value for name, value in options.items() if name not in KINDS["reptile"]}
    untrained = {name: value for name, value in untrained.items() if "inner" not in name}
    runs.execute(runs.prepare(tmp_path / "untrained", {**untrained, "steps": 0}))
    runs.execute(runs.prepare(tmp_path / "run", options))
    before, after = (lines(tmp_path / name)[-1] for name in ("untrained", "run"))
    assert after["validation_accuracy"] > before["validation_accuracy"] + 0.05


def test_rate_decays_linearly():
    schedule = runs.Schedule(steps=4, lr=1.0, optimizer="plain-sgd", linear=True)
    optimizer = schedule.build_optimizer(torch.nn.Linear(2, 2))
    scheduler = schedule.build_scheduler(optimizer)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([1.0, 0.75, 0.5, 0.25])
    assert optimizer.param_groups[0]["momentum"] == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"update": "maml"}, "expected one of query-loss, reptile, foml, leap"),
        ({"inner_steps": 3}, "inner_steps is 3, which has no effect with update=query-loss"),
        ({"inner_tail": True}, "inner_tail is True"),
        ({"update": "foml", "inner_tail": True, "inner_steps": 1}, "use 2 or more"),
        ({"update": "foml", "inner_steps": 0}, "inner_steps is 0"),
        ({"update": "reptile", "tasks": "chaml"}, "choose other tasks"),
        ({"update": "reptile", "precision": "bfloat16"}, "update=reptile needs float32"),
        ({"update": "reptile", "objective": "classes"}, "update=reptile needs tasks"),
        ({"update": "reptile", "method": "prototypical", "arguments": {}}, "got prototypical"),
        ({"update": "reptile", "method": "maml_plus_plus"}, "use node_loss"),
        (
            {"update": "leap", "method": "cavia", "arguments": {"way": 3}},
            "none of them is trainable",
        ),
        ({"linear": True, "cosine": True}, "choose one learning-rate decay"),
    ],
)
def test_invalid_options_raise_before_any_work(change, reason, tmp_path):
    with pytest.raises(ValueError, match=reason):
        runs.prepare(tmp_path / "run", {**PLAIN, **change})
    assert not (tmp_path / "run").exists()


class TwoProcesses:
    """A process group that is never used."""

    rank, size = 0, 2

    def sum(self, value):
        return value

    def gather(self, value):
        return [value, value]


def test_several_processes_are_rejected(tmp_path):
    with pytest.raises(ValueError, match="update=leap trains in one process"):
        runs.prepare(tmp_path / "run", {**PLAIN, "update": "leap"}, TwoProcesses())
    assert not (tmp_path / "run").exists()


def test_options_describe_the_training_on_tasks():
    assert UpdateOptions().describe() == {}
    described = UpdateOptions(update="leap", inner_lr=0.5).describe()
    assert described == {
        "inner_steps": 5,
        "inner_batch": 10,
        "inner_optimizer": "adam",
        "inner_lr": 0.5,
        "inner_tail": False,
    }
