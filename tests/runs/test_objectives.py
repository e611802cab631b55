"""Classification, augmentation, averages, schedules and patience: effect, provenance and resuming."""

import dataclasses
import json

import pytest
import torch
from small_runs import OPTIONS, lines, same_files, stop_after

import graphfew as gf
from graphfew import runs
from graphfew.runs.factory import MAX_PCA_ITEMS, fit_pca

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
    "clipped": {**OPTIONS, "clip_value": 0.1, "clip_norm": 0.05, "optimizer": "sgd"},
    "bfloat16": {**PLAIN, "method": "prototypical", "precision": "bfloat16"},
    "bfloat16, the layers too": {**OPTIONS, "precision": "bfloat16-whole"},
}


@pytest.fixture
def with_bfloat16(monkeypatch):
    """A processor with bfloat16 instructions, whether it has them or not."""
    for module in ("graphfew.runs.build", "graphfew.training.loop"):
        monkeypatch.setattr(f"{module}.supports_bfloat16", lambda device: True)


@pytest.mark.usefixtures("with_bfloat16")
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("n_checks", [1, 5])
def test_resumes_exactly(options, n_checks, tmp_path):
    complete_run, parts = tmp_path / "complete_run", tmp_path / "parts"
    runs.execute(runs.prepare(complete_run, options))
    with pytest.raises(runs.TrainingInterrupted):
        runs.execute(runs.prepare(parts, options), should_stop=stop_after(n_checks))
    runs.execute(runs.resume(parts, {}))
    assert all(same_files(complete_run, parts).values())


@pytest.mark.usefixtures("with_bfloat16")
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
def test_each_option_changes_the_weights_and_is_recorded(options, tmp_path):
    recorded = {
        key: value for key, value in options.items() if key not in (*OPTIONS, "lr", "weight_decay")
    }
    plain = {key: value for key, value in options.items() if key not in recorded}
    runs.execute(runs.prepare(tmp_path / "own", options))
    runs.execute(runs.prepare(tmp_path / "plain", plain))
    own, other = (gf.load(tmp_path / name / "last") for name in ("own", "plain"))
    assert not all(
        torch.equal(a, b) for a, b in zip(own.parameters(), other.parameters(), strict=True)
    )
    assert {key: own.provenance.get(key) for key in recorded} == recorded
    assert not set(recorded) & set(other.provenance)


def test_bfloat16_without_hardware_support_is_float32(tmp_path, monkeypatch):
    monkeypatch.setattr("graphfew.runs.build.supports_bfloat16", lambda device: False)
    options = {**PLAIN, "method": "prototypical", "steps": 2}
    prepared = runs.prepare(tmp_path / "run", {**options, "precision": "bfloat16"})
    (note,) = prepared.notes
    assert "cpu has no bfloat16 hardware support" in note
    assert "training uses float32" in note
    runs.execute(prepared)
    runs.execute(runs.prepare(tmp_path / "plain", options))
    model, plain = (gf.load(tmp_path / name / "last") for name in ("run", "plain"))
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True)
    )
    assert model.provenance["precision"] == "bfloat16"
    assert model.provenance["precision_used"] == "float32"
    assert runs.resume(tmp_path / "run", {}).notes == (note,)
    (session,) = json.loads((tmp_path / "run" / "timing.json").read_text())["sessions"]
    assert session["precision"] == "float32"


def test_classification_trains_the_encoder_of_the_saved_method(tmp_path):
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
    ).state.model.encoder
    assert torch.equal(encoder.net[1].weight, model.encoder.net[1].weight)


def test_saved_weights_are_the_moving_average(tmp_path):
    state = runs.build_state(runs.TrainConfig.from_options({**OPTIONS, "average": 0.5}))
    assert all(
        torch.equal(a, b)
        for a, b in zip(state.model.parameters(), state.method.parameters(), strict=True)
    )
    expected = [p.detach().clone() for p in state.model.parameters()]
    schedule = runs.TrainConfig.from_options({**OPTIONS, "average": 0.5}).schedule
    for event in runs.fit(
        state.model,
        state.source,
        None,
        schedule,
        loss=state.loss,
        optimizer=state.optimizer,
        learner=state.learner,
        after_step=state.after_step,
    ):
        decay = min(0.5, event.progress.step / (event.progress.step + 9))
        expected = [
            decay * e + (1 - decay) * p
            for e, p in zip(expected, state.method.parameters(), strict=True)
        ]
    for value, own in zip(expected, state.model.parameters(), strict=True):
        torch.testing.assert_close(own, value)


def test_moving_average_with_a_frozen_encoder(complete_run, tmp_path):
    options = {
        **OPTIONS,
        "seed": 5,
        "init_encoder": str(complete_run),
        "freeze_encoder": True,
        "average": 0.5,
    }
    runs.execute(runs.prepare(tmp_path / "run", options))
    source, model = gf.load(complete_run / "best"), gf.load(tmp_path / "run" / "last")
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


def test_test_time_augmentation_of_a_frozen_encoder(tmp_path):
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
    with pytest.raises(runs.TrainingInterrupted):
        runs.execute(runs.prepare(tmp_path / "parts", options), should_stop=stop_after(4))
    runs.execute(runs.resume(tmp_path / "parts", {}))
    assert all(same_files(tmp_path / "run", tmp_path / "parts").values())
    seen = runs.prepare(
        tmp_path / "mirrored", {**options, "mirror": 1, "views": 1}
    ).state.model.encoder
    assert seen.spec.name == "flip_tta"
    assert all(
        torch.equal(a, b)
        for a, b in zip(seen.parameters(), source.encoder.parameters(), strict=True)
    )
    with pytest.raises(ValueError, match="mirror is 1"):
        runs.prepare(tmp_path / "no", {**options, "views": 1, "mirror": 1, "freeze_encoder": False})
    with pytest.raises(ValueError, match="views is 3"):
        runs.prepare(tmp_path / "no", {**options, "freeze_encoder": False})


def test_principal_components_of_a_frozen_encoder(tmp_path):
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
    even = torch.linspace(0, len(data) - 1, MAX_PCA_ITEMS).long()
    with torch.no_grad():
        expected.net.fit(expected.net.net(data.gather(even)))
    some = data.gather(torch.arange(9))
    torch.testing.assert_close(model.eval().encoder(some), expected(some), atol=1e-3, rtol=1e-3)
    with pytest.raises(runs.TrainingInterrupted):
        runs.execute(runs.prepare(tmp_path / "parts", options), should_stop=stop_after(4))
    runs.execute(runs.resume(tmp_path / "parts", {}))
    assert all(same_files(tmp_path / "run", tmp_path / "parts").values())
    with pytest.raises(ValueError, match="components is 5"):
        runs.prepare(tmp_path / "no", {**OPTIONS, "components": 5})
    with pytest.raises(ValueError, match="components=1000; the encoder's"):
        runs.prepare(tmp_path / "no", {**options, "components": 1000})


def test_principal_components_without_items_of_every_class(monkeypatch):
    monkeypatch.setattr("graphfew.runs.factory.MAX_PCA_ITEMS", 12)
    x = torch.rand(60, 7, generator=torch.Generator().manual_seed(0))
    data = gf.data.arrays(x, torch.arange(30).repeat_interleave(2))
    model = gf.create("prototypical", encoder=gf.backbones.pca(gf.backbones.identity(7), 3))
    fit_pca(model, data)
    expected = gf.backbones.pca(gf.backbones.identity(7), 3)
    expected.net.fit(x[torch.linspace(0, 59, 12).long()])
    torch.testing.assert_close(model.encoder(x), expected(x))


def test_patience_finishes_the_run(tmp_path):
    options = {
        **PLAIN,
        "method": "prototypical",
        "lr": 1e-12,
        "steps": 50,
        "validate_every": 2,
        "patience": 3,
        "save_every": 7,
    }
    progress = runs.execute(runs.prepare(tmp_path / "run", options))
    metrics = lines(tmp_path / "run")
    best = max(range(len(metrics)), key=lambda i: (metrics[i]["validation_accuracy"], -i))
    assert len(metrics) == best + 1 + 3 < 25
    assert progress.is_finished(runs.TrainConfig.from_options(options).schedule)
    again = runs.resume(tmp_path / "run", {})
    assert again.progress.is_finished(again.config.schedule)
    assert again.progress.step == progress.step
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    runs.execute(again)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_loader_arguments(tmp_path):
    options = {
        **PLAIN,
        "method": "prototypical",
        "data": "glyphs",
        "split": "train",
        "validate": "val",
    }
    config = runs.TrainConfig.from_options(options)
    assert runs.TrainConfig.from_options(json.loads(json.dumps(config.to_options()))) == config
    with pytest.raises(ValueError, match="glyphs takes no argument 'color'; expected one of:"):
        runs.prepare(tmp_path / "run", {**options, "data_arguments": {"color": 3}})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"objective": "digits"}, "objective is 'digits'"),
        ({"objective": "classes", "loss": "node"}, "leave loss out"),
        ({"turns": True}, "turns needs objective=classes"),
        ({"augment": "blur"}, "unknown augmentation 'blur'"),
        ({"cosine": True, "halve_every": 3}, "choose one learning-rate decay"),
        ({"average": 1.0}, "average is 1.0"),
        ({"optimizer": "lion"}, "expected one of adam, adamw, sgd"),
        ({"precision": "int8"}, "expected one of float32, bfloat16, bfloat16-whole"),
        ({"patience": 0}, "patience is 0"),
        ({"warmup": -1}, "warmup is -1"),
        ({"init_encoder": "x", "freeze_encoder": True, "augment": "affine"}, "leave out augment"),
        (
            {"init_encoder": "x", "freeze_encoder": True, "objective": "classes"},
            "leave out objective=classes",
        ),
    ],
)
def test_invalid_options_raise_before_any_work(change, reason, tmp_path):
    with pytest.raises(ValueError, match=reason):
        runs.prepare(tmp_path / "run", {**PLAIN, **change})
    assert not (tmp_path / "run").exists()


def test_state_without_steps_has_no_optimizer():
    state = runs.build_state(runs.TrainConfig.from_options({**CLASSES, "steps": 0}))
    assert state.optimizer is None
    assert dataclasses.replace(state, learner=state.model).separate_learner is None
