"""Classes, augmentation, averages and patience: each resumes as if it had not stopped, and does what it says."""

import dataclasses
import json

import pytest
import torch
from small_runs import OPTIONS, lines, same_files, stopping_after

import graphfew as gf
from graphfew import runs
from graphfew.runs.factory import COMPONENTS_FROM, find_components

PLAIN = {
    key: value for key, value in OPTIONS.items() if key not in ("arguments", "halve_every", "query")
}
CLASSES = {
    **PLAIN,
    "method": "prototypical",
    "objective": "classes",
    "batch": 16,
    "validate_query": "2",
}
KINDS = {
    "classes": CLASSES,
    "classes, turned and augmented": {**CLASSES, "turns": True, "augment": "affine+crop:2"},
    "an average of classes": {**CLASSES, "average": 0.9, "optimizer": "sgd", "lr": 0.05},
    "an average": {**OPTIONS, "average": 0.9},
    "augmented": {**OPTIONS, "augment": "affine"},
    "cosine, warm-up, adamw": {
        **PLAIN,
        "method": "prototypical",
        "cosine": True,
        "warmup": 2,
        "optimizer": "adamw",
        "weight_decay": 0.1,
    },
    "bfloat16": {**PLAIN, "method": "prototypical", "precision": "bfloat16"},
    "bfloat16, the layers too": {**OPTIONS, "precision": "bfloat16-whole"},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("asked", [1, 5])
def test_it_resumes_as_if_it_had_not_stopped(options, asked, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    runs.execute(runs.prepare(whole, options))
    with pytest.raises(runs.Interrupted):
        runs.execute(runs.prepare(parts, options), stop=stopping_after(asked))
    runs.execute(runs.reopen(parts, {}))
    assert all(same_files(whole, parts).values())


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
def test_every_option_changes_what_is_learned_and_is_told(options, tmp_path):
    told = {
        key: value for key, value in options.items() if key not in (*OPTIONS, "lr", "weight_decay")
    }
    plain = {key: value for key, value in options.items() if key not in told}
    runs.execute(runs.prepare(tmp_path / "own", options))
    runs.execute(runs.prepare(tmp_path / "plain", plain))
    own, other = (gf.load(tmp_path / name / "last") for name in ("own", "plain"))
    assert not all(
        torch.equal(a, b) for a, b in zip(own.parameters(), other.parameters(), strict=True)
    )
    assert {key: own.provenance.get(key) for key in told} == told
    assert not set(told) & set(other.provenance)


def test_the_encoder_learns_classes_and_the_checkpoint_is_of_the_method(tmp_path):
    runs.execute(
        runs.prepare(tmp_path / "run", {**CLASSES, "steps": 40, "validate_every": 20, "lr": 0.01})
    )
    metrics = lines(tmp_path / "run")
    assert metrics[-1]["accuracy"] > metrics[0]["accuracy"]
    model = gf.load(tmp_path / "run" / "best")
    assert model.spec.name == "prototypical"
    assert model.provenance["training_loss"] == "class_loss"
    assert model.provenance["selected_on"] == "digits/all"
    encoder = runs.prepare(
        tmp_path / "next", {**OPTIONS, "init_encoder": str(tmp_path / "run")}
    ).job.model.encoder
    assert torch.equal(encoder.net[1].weight, model.encoder.net[1].weight)


def test_what_is_kept_is_the_average_of_what_is_trained(tmp_path):
    job = runs.build(runs.TrainConfig.of({**OPTIONS, "average": 0.5}))
    assert all(
        torch.equal(a, b)
        for a, b in zip(job.model.parameters(), job.taught.parameters(), strict=True)
    )
    expected = [p.detach().clone() for p in job.model.parameters()]
    schedule = runs.TrainConfig.of({**OPTIONS, "average": 0.5}).schedule
    for moment in runs.fit(
        job.model,
        job.source,
        None,
        schedule,
        loss=job.loss,
        optimizer=job.optimizer,
        learner=job.learner,
        after=job.after,
    ):
        decay = min(0.5, moment.tally.step / (moment.tally.step + 9))
        expected = [
            decay * e + (1 - decay) * p
            for e, p in zip(expected, job.taught.parameters(), strict=True)
        ]
    for value, own in zip(expected, job.model.parameters(), strict=True):
        torch.testing.assert_close(own, value)


def test_a_frozen_encoder_takes_an_average_of_layers(whole, tmp_path):
    options = {
        **OPTIONS,
        "seed": 5,
        "init_encoder": str(whole),
        "freeze_encoder": True,
        "average": 0.5,
    }
    runs.execute(runs.prepare(tmp_path / "run", options))
    source, model = gf.load(whole / "best"), gf.load(tmp_path / "run" / "last")
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.encoder.parameters(), source.encoder.parameters(), strict=True)
    )
    runs.execute(runs.prepare(tmp_path / "plain", {**options, "average": None}))
    plain = gf.load(tmp_path / "plain" / "last")
    assert not all(
        torch.equal(a, b)
        for a, b in zip(model.layers.parameters(), plain.layers.parameters(), strict=True)
    )


def test_a_frozen_encoder_is_averaged_over_views(tmp_path):
    first = {**CLASSES, "data": "glyphs", "split": "train", "validate": "val"}
    runs.execute(runs.prepare(tmp_path / "encoder", first))
    options = {
        **OPTIONS,
        "data": "glyphs",
        "split": "train",
        "validate": "val",
        "freeze_encoder": True,
        "views": 3,
        "init_encoder": str(tmp_path / "encoder"),
    }
    runs.execute(runs.prepare(tmp_path / "run", options))
    source, model = gf.load(tmp_path / "encoder" / "best"), gf.load(tmp_path / "run" / "last")
    assert model.encoder.spec.name == "affine_tta"
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.encoder.parameters(), source.encoder.parameters(), strict=True)
    )
    with pytest.raises(runs.Interrupted):
        runs.execute(runs.prepare(tmp_path / "parts", options), stop=stopping_after(4))
    runs.execute(runs.reopen(tmp_path / "parts", {}))
    assert all(same_files(tmp_path / "run", tmp_path / "parts").values())
    seen = runs.prepare(
        tmp_path / "mirrored", {**options, "mirror": 1, "views": 1}
    ).job.model.encoder
    assert seen.spec.name == "flip_tta"
    assert all(
        torch.equal(a, b)
        for a, b in zip(seen.parameters(), source.encoder.parameters(), strict=True)
    )
    with pytest.raises(ValueError, match="mirror is 1"):
        runs.prepare(tmp_path / "no", {**options, "views": 1, "mirror": 1, "freeze_encoder": False})
    with pytest.raises(ValueError, match="views is 3"):
        runs.prepare(tmp_path / "no", {**options, "freeze_encoder": False})


def test_a_frozen_encoder_gives_principal_components(tmp_path):
    first = {**CLASSES, "data": "glyphs", "split": "train", "validate": "val"}
    runs.execute(runs.prepare(tmp_path / "encoder", first))
    options = {
        **OPTIONS,
        "data": "glyphs",
        "split": "train",
        "validate": "val",
        "freeze_encoder": True,
        "mirror": 0,
        "components": 3,
        "average": 0.9,
        "init_encoder": str(tmp_path / "encoder"),
    }
    runs.execute(runs.prepare(tmp_path / "run", options))
    source, model = gf.load(tmp_path / "encoder" / "best"), gf.load(tmp_path / "run" / "last")
    assert model.provenance["components"] == 3
    expected = gf.backbones.pca(gf.backbones.flip_tta(source.encoder, 0), 3).eval()
    data = gf.data.glyphs("train")
    even = torch.linspace(0, len(data) - 1, COMPONENTS_FROM).long()
    with torch.no_grad():
        expected.net.fit(expected.net.net(data.gather(even)))
    some = data.gather(torch.arange(9))
    torch.testing.assert_close(model.eval().encoder(some), expected(some), atol=1e-3, rtol=1e-3)
    with pytest.raises(runs.Interrupted):
        runs.execute(runs.prepare(tmp_path / "parts", options), stop=stopping_after(4))
    runs.execute(runs.reopen(tmp_path / "parts", {}))
    assert all(same_files(tmp_path / "run", tmp_path / "parts").values())
    with pytest.raises(ValueError, match="components is 5"):
        runs.prepare(tmp_path / "no", {**OPTIONS, "components": 5})
    with pytest.raises(ValueError, match="components=1000; the encoder's"):
        runs.prepare(tmp_path / "no", {**options, "components": 1000})


def test_components_are_found_where_not_every_class_has_an_item_among_those_looked_at(monkeypatch):
    monkeypatch.setattr("graphfew.runs.factory.COMPONENTS_FROM", 12)
    x = torch.rand(60, 7, generator=torch.Generator().manual_seed(0))
    data = gf.data.arrays(x, torch.arange(30).repeat_interleave(2))
    model = gf.create("prototypical", encoder=gf.backbones.pca(gf.backbones.identity(7), 3))
    find_components(model, data)
    expected = gf.backbones.pca(gf.backbones.identity(7), 3)
    expected.net.fit(x[torch.linspace(0, 59, 12).long()])
    torch.testing.assert_close(model.encoder(x), expected(x))


def test_patience_ends_training_and_the_run_is_finished(tmp_path):
    options = {
        **PLAIN,
        "method": "prototypical",
        "lr": 1e-12,
        "steps": 50,
        "validate_every": 2,
        "patience": 3,
        "save_every": 7,
    }
    tally = runs.execute(runs.prepare(tmp_path / "run", options))
    metrics = lines(tmp_path / "run")
    best = max(range(len(metrics)), key=lambda i: (metrics[i]["validation_accuracy"], -i))
    assert len(metrics) == best + 1 + 3 < 25
    assert runs.finished(tally, runs.TrainConfig.of(options).schedule)
    again = runs.reopen(tmp_path / "run", {})
    assert runs.finished(again.tally, again.config.schedule)
    assert again.tally.step == tally.step
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    runs.execute(again)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_a_loader_gets_its_arguments(tmp_path):
    options = {
        **PLAIN,
        "method": "prototypical",
        "data": "glyphs",
        "split": "train",
        "validate": "val",
    }
    config = runs.TrainConfig.of(options)
    assert runs.TrainConfig.of(json.loads(json.dumps(config.flat()))) == config
    with pytest.raises(ValueError, match="glyphs takes no argument 'color'; known:"):
        runs.prepare(tmp_path / "run", {**options, "data_arguments": {"color": 3}})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"objective": "digits"}, "objective is 'digits'"),
        ({"objective": "classes", "loss": "node"}, "leave loss out"),
        ({"turns": True}, "turns makes four classes"),
        ({"augment": "blur"}, "no augmentation is written 'blur'"),
        ({"cosine": True, "halve_every": 3}, "give one way"),
        ({"average": 1.0}, "average is 1.0"),
        ({"optimizer": "lion"}, "known: adam, adamw, sgd"),
        ({"precision": "int8"}, "known: float32, bfloat16, bfloat16-whole"),
        ({"patience": 0}, "patience is 0"),
        ({"warmup": -1}, "warmup is -1"),
        ({"init_encoder": "x", "freeze_encoder": True, "augment": "affine"}, "leave out augment"),
        (
            {"init_encoder": "x", "freeze_encoder": True, "objective": "classes"},
            "leave out objective=classes",
        ),
    ],
)
def test_options_that_cannot_be_are_refused_before_any_work(change, reason, tmp_path):
    with pytest.raises(ValueError, match=reason):
        runs.prepare(tmp_path / "run", {**PLAIN, **change})
    assert not (tmp_path / "run").exists()


def test_a_job_without_steps_has_no_optimizer():
    job = runs.build(runs.TrainConfig.of({**CLASSES, "steps": 0}))
    assert job.optimizer is None
    assert dataclasses.replace(job, learner=job.model).apart is None
