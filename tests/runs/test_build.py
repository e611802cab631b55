"""Building a run from its configuration; errors are raised before the folder is created."""

import json

import pytest
import torch
from small_runs import OPTIONS, stop_after

import graphfew as gf
from graphfew import runs
from graphfew.runs.task_sources import VALIDATION_SEED_OFFSET


def test_init_encoder_is_loaded_and_recorded(complete_run, tmp_path):
    options = {
        **OPTIONS,
        "method": "prototypical",
        "arguments": {},
        "init_encoder": str(complete_run),
        "steps": 0,
    }
    runs.execute(runs.prepare(tmp_path / "run", options))
    model, source = gf.load(tmp_path / "run" / "best"), gf.load(complete_run / "best")
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            model.encoder.state_dict().values(), source.encoder.state_dict().values(), strict=True
        )
    )
    recorded = model.provenance["init_encoder"]
    assert (recorded["checkpoint"], recorded["selected_on"], len(recorded["sha256"])) == (
        "run/best.safetensors",
        "digits/all",
        64,
    )
    assert str(complete_run.parent) not in json.dumps(model.provenance)


def test_provenance_of_the_encoder_survives_resuming(complete_run, tmp_path):
    source = tmp_path / "source.safetensors"
    source.write_bytes((complete_run / "best.safetensors").read_bytes())
    options = {**OPTIONS, "init_encoder": str(source)}
    with pytest.raises(runs.TrainingInterrupted):
        runs.execute(runs.prepare(tmp_path / "run", options), should_stop=stop_after(1))
    source.unlink()
    runs.execute(runs.resume(tmp_path / "run", {}))
    assert gf.load(tmp_path / "run" / "best").provenance["init_encoder"]["training_seed"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "foo"}, "expected one of: alpha_tim, anil, "),
        ({"data": "foo"}, "known: omniglot, omniglot_runs, glyphs, digits"),
        ({"encoder": "foo"}, "bilstm, concat, conv4"),
        ({"data": "glyphs", "split": "foo"}, "known: train, val, test"),
        ({"split": "train"}, "its only one is all"),
        ({"validate": "test"}, "a checkpoint selected on the test split"),
        ({"validate": "evaluation"}, "a checkpoint selected on the test split"),
        ({"loss": "foo"}, "expected one of node, penalized-node, edge"),
        ({"method": "prototypical", "arguments": {}, "loss": "edge"}, "edge_loss needs layers"),
        ({"arguments": {"foo": 1}}, "egnn has no argument 'foo'; expected one of: layers"),
        ({"arguments": {"layers": "x"}}, "egnn cannot be built with"),
        ({"encoder_arguments": {"foo": 1}}, "conv4 cannot"),
        (
            {"method": "prototypical", "arguments": {"metric": "foo"}},
            "expected one of squared_euclidean, cosine",
        ),
        (
            {"method": "prototypical", "arguments": {}, "transductive": True},
            "prototypical is inductive only",
        ),
        ({"method": "prototypical", "arguments": {}, "unlabeled": "2"}, "cannot use them"),
        ({"method": "gnn", "arguments": {}, "way": "3-4"}, "give one number"),
        (
            {"method": "hybrid_attention", "arguments": {}, "shot": "1-2"},
            "built for one number of shots and shot is 1-2",
        ),
        (
            {"method": "tadam", "arguments": {}, "freeze_encoder": True, "init_encoder": "x"},
            "conditions its encoder on the task",
        ),
        (
            {"method": "gnn", "arguments": {}, "validate_way": "4"},
            "built for 3-way tasks and got a 4-way task",
        ),
        ({"method": "nearest_neighbor", "arguments": {}}, "needs no training"),
        ({"encoder_arguments": {"in_channels": 3}}, "conv4 got items of shape"),
        ({"way": "x"}, "way is 'x'"),
        ({"way": "12"}, "way is 12"),
        ({"query": "x"}, "known forms"),
        ({"steps": -1}, "steps is -1"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"device": "foo"}, "cannot be used"),
        ({"root": "here"}, "takes no root"),
        ({"within_groups": True}, "has no groups"),
    ],
)
def test_invalid_configurations_raise_before_the_folder_is_created(
    tmp_path, change, message, unchecked
):
    with pytest.raises(ValueError, match=message):
        runs.prepare(tmp_path / "run", {**OPTIONS, **change})
    assert not (tmp_path / "run").exists()


def test_init_encoder_of_another_architecture_raises(complete_run, tmp_path):
    with pytest.raises(ValueError, match="give the same encoder"):
        runs.prepare(
            tmp_path / "run",
            {**OPTIONS, "encoder_arguments": {"width": 5}, "init_encoder": str(complete_run)},
        )
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        runs.prepare(tmp_path / "run", {**OPTIONS, "init_encoder": str(tmp_path / "none")})
    assert not (tmp_path / "run").exists()


def test_validation_tasks_differ_from_training_tasks():
    state = runs.build_state(
        runs.TrainConfig.from_options({**OPTIONS, "validate_query": "varied:1-6"})
    )
    assert state.validation.describe() == {**state.tasks.describe(), "seed": VALIDATION_SEED_OFFSET}


def test_label_noise_is_passed_to_tasks():
    state = runs.build_state(runs.TrainConfig.from_options({**OPTIONS, "label_noise": 0.25}))
    assert (state.tasks.label_noise, state.validation.label_noise) == (0.25, 0.25)


def test_fixed_shot_method_gets_the_shot():
    options = {**OPTIONS, "method": "hybrid_attention", "arguments": {}, "shot": "2"}
    assert (
        runs.build_state(runs.TrainConfig.from_options(options)).model.spec.arguments["shot"] == 2
    )


def test_fixed_way_method_gets_the_way():
    options = {key: value for key, value in OPTIONS.items() if key != "validate_way"}
    state = runs.build_state(
        runs.TrainConfig.from_options({**options, "method": "gnn", "arguments": {}, "way": "4"})
    )
    assert (state.model.spec.arguments["way"], state.validation.describe()["way"]) == (4, 4)
