"""What a configuration becomes, and that faults are found before the folder is made."""

import json

import pytest
import torch
from small_runs import OPTIONS, stopping_after

import graphfew as gf
from graphfew import runs
from graphfew.runs.build import VALIDATION_STREAM


def test_the_encoder_of_another_run_is_the_start_and_is_told(whole, tmp_path):
    options = {
        **OPTIONS,
        "method": "prototypical",
        "arguments": {},
        "init_encoder": str(whole),
        "steps": 0,
    }
    runs.execute(runs.prepare(tmp_path / "run", options))
    model, source = gf.load(tmp_path / "run" / "best"), gf.load(whole / "best")
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            model.encoder.state_dict().values(), source.encoder.state_dict().values(), strict=True
        )
    )
    told = model.provenance["init_encoder"]
    assert (told["checkpoint"], told["selected_on"], len(told["sha256"])) == (
        "run/best.safetensors",
        "digits/all",
        64,
    )
    assert str(whole.parent) not in json.dumps(model.provenance)


def test_the_provenance_of_the_encoder_survives_resuming_without_it(whole, tmp_path):
    source = tmp_path / "source.safetensors"
    source.write_bytes((whole / "best.safetensors").read_bytes())
    options = {**OPTIONS, "init_encoder": str(source)}
    with pytest.raises(runs.Interrupted):
        runs.execute(runs.prepare(tmp_path / "run", options), stop=stopping_after(1))
    source.unlink()
    runs.execute(runs.reopen(tmp_path / "run", {}))
    assert gf.load(tmp_path / "run" / "best").provenance["init_encoder"]["training_seed"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "foo"}, "expected one of: alpha_tim, attention_attractor"),
        ({"data": "foo"}, "known: omniglot, glyphs, digits"),
        ({"encoder": "foo"}, "known: bilstm, conv4"),
        ({"data": "glyphs", "split": "foo"}, "known: train, val, test"),
        ({"split": "train"}, "its only one is all"),
        ({"validate": "test"}, "test split has seen the test"),
        ({"validate": "evaluation"}, "test split has seen the test"),
        ({"loss": "foo"}, "known: node, edge"),
        ({"method": "prototypical", "arguments": {}, "loss": "edge"}, "edge_loss needs layers"),
        ({"arguments": {"foo": 1}}, "egnn has no argument 'foo'; expected one of: layers"),
        ({"arguments": {"layers": "x"}}, "egnn cannot be built with"),
        ({"encoder_arguments": {"foo": 1}}, "conv4 cannot"),
        (
            {"method": "prototypical", "arguments": {"metric": "foo"}},
            "known: squared_euclidean, cosine",
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
            "built for 3-way tasks and got a 4-way one",
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
def test_what_cannot_be_done_is_refused_before_the_folder_is_made(
    tmp_path, change, message, unchecked
):
    with pytest.raises(ValueError, match=message):
        runs.prepare(tmp_path / "run", {**OPTIONS, **change})
    assert not (tmp_path / "run").exists()


def test_an_encoder_of_another_shape_or_a_missing_one_is_refused(whole, tmp_path):
    with pytest.raises(ValueError, match="give the same encoder"):
        runs.prepare(
            tmp_path / "run",
            {**OPTIONS, "encoder_arguments": {"width": 5}, "init_encoder": str(whole)},
        )
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        runs.prepare(tmp_path / "run", {**OPTIONS, "init_encoder": str(tmp_path / "none")})
    assert not (tmp_path / "run").exists()


def test_validation_tasks_are_not_training_tasks():
    job = runs.build(runs.TrainConfig.of({**OPTIONS, "validate_query": "varied:1-6"}))
    assert job.validation.describe() == {**job.tasks.describe(), "seed": VALIDATION_STREAM}


def test_supports_are_as_noisy_as_asked():
    job = runs.build(runs.TrainConfig.of({**OPTIONS, "label_noise": 0.25}))
    assert (job.tasks.label_noise, job.validation.label_noise) == (0.25, 0.25)


def test_the_fixed_shot_method_is_built_with_the_shot():
    options = {**OPTIONS, "method": "hybrid_attention", "arguments": {}, "shot": "2"}
    assert runs.build(runs.TrainConfig.of(options)).model.spec.arguments["shot"] == 2


def test_the_fixed_way_method_is_built_and_validated_with_the_way():
    options = {key: value for key, value in OPTIONS.items() if key != "validate_way"}
    job = runs.build(runs.TrainConfig.of({**options, "method": "gnn", "arguments": {}, "way": "4"}))
    assert (job.model.spec.arguments["way"], job.validation.describe()["way"]) == (4, 4)
