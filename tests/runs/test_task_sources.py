"""Runs on CACTUs, UMTRA and CHAML tasks: they resume exactly and record what they trained on."""

import pytest
import torch
from small_runs import OPTIONS, same_files, stop_after

import graphfew as gf
from graphfew import runs
from graphfew.errors import CheckpointError, ConfigurationError
from graphfew.serialization import checkpoint

PLAIN = {
    **{name: value for name, value in OPTIONS.items() if name not in ("arguments", "halve_every")},
    "method": "prototypical",
    "query": "2",
    "save_every": 2,
}
KINDS = {
    "cactus": {"tasks": "cactus", "clusters": 12, "partitions": 2, "unlabeled": "1"},
    "umtra": {"tasks": "umtra", "augment": "affine+dropout:0.2"},
    "chaml": {"tasks": "chaml"},
    "chaml, easy first, augmented": {"tasks": "chaml", "easy_steps": 3, "augment": "affine"},
}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


@pytest.mark.filterwarnings("ignore:this method ignores")
@each_kind
def test_resumes_exactly(kind, tmp_path):
    options = {**PLAIN, **kind}
    options["method"] = "egnn" if "unlabeled" in kind else "prototypical"
    runs.execute(runs.prepare(tmp_path / "whole", options))
    with pytest.raises(runs.TrainingInterrupted):
        runs.execute(runs.prepare(tmp_path / "parts", options), should_stop=stop_after(5))
    runs.execute(runs.resume(tmp_path / "parts", {}))
    assert all(same_files(tmp_path / "whole", tmp_path / "parts").values())
    described = gf.load(tmp_path / "whole" / "last").provenance["training_tasks"]
    assert described["source"] == kind["tasks"]


def test_chaml_with_a_frozen_encoder_saves_its_state(complete_run, tmp_path):
    options = {
        **OPTIONS,
        "tasks": "chaml",
        "init_encoder": str(complete_run),
        "freeze_encoder": True,
    }
    runs.execute(runs.prepare(tmp_path / "whole", options))
    with pytest.raises(runs.TrainingInterrupted):
        runs.execute(runs.prepare(tmp_path / "parts", options), should_stop=stop_after(4))
    runs.execute(runs.resume(tmp_path / "parts", {}))
    assert all(same_files(tmp_path / "whole", tmp_path / "parts").values())
    state = checkpoint.read_extra(tmp_path / "whole" / "last")["task_source"]
    assert state["number"] == OPTIONS["steps"]
    assert state["next_index"] == OPTIONS["steps"] * OPTIONS["batch"]


def test_checkpoint_without_the_state_of_tasks_is_rejected(tmp_path):
    options = {**PLAIN, "tasks": "chaml", "steps": 2}
    prepared = runs.prepare(tmp_path / "run", options)
    runs.execute(prepared)
    extra = checkpoint.read_extra(prepared.run.last)
    del extra["task_source"]
    checkpoint.save(
        prepared.state.model, prepared.run.last, optimizer=prepared.state.optimizer, extra=extra
    )
    with pytest.raises(CheckpointError, match="lacks the state of the training tasks"):
        runs.resume(tmp_path / "run", {})


def test_cactus_embeds_by_another_checkpoint(complete_run, tmp_path):
    options = {**PLAIN, **KINDS["cactus"], "unlabeled": "0", "steps": 1}
    with_values = runs.build_state(runs.TrainConfig.from_options(options))
    prepared = runs.prepare(tmp_path / "run", {**options, "embedding": str(complete_run)})
    embedded = prepared.state
    assert with_values.tasks.data.x.shape == embedded.tasks.data.x.shape
    a, b = (state.tasks.partitions[0] for state in (with_values, embedded))
    assert (a != b).any()
    encoder = gf.load(complete_run / "best").encoder
    features = gf.data.encode(embedded.tasks.data, encoder, progress=False).x
    expected = gf.data.kmeans_partitions(features, 12, 2)
    assert all((x == y).all() for x, y in zip(embedded.tasks.partitions, expected, strict=True))
    facts = embedded.model.provenance["training_tasks"]["embedding"]
    assert len(facts["sha256"]) == 64
    assert "embedding" not in with_values.model.provenance["training_tasks"]


def test_validation_tasks_are_labeled_and_never_restricted():
    for kind in KINDS.values():
        state = runs.build_state(runs.TrainConfig.from_options({**OPTIONS, "query": "2", **kind}))
        assert type(state.validation) is gf.Tasks
        assert "source" not in state.validation.describe()


def test_easy_classes_have_a_small_error_of_prototypes():
    options = {**PLAIN, "tasks": "chaml", "easy_steps": 3}
    tasks = runs.build_state(runs.TrainConfig.from_options(options)).tasks
    digits = gf.data.digits()
    features = gf.data.arrays(digits.x.flatten(1).float(), digits.y.tolist())
    assert tasks.curriculum.difficulty == gf.data.prototype_difficulty(features)
    assert tasks.curriculum.n_easy_tasks == 3 * PLAIN["batch"]
    easiest = set(torch.tensor(tasks.curriculum.difficulty).argsort(stable=True)[:5].tolist())
    assert set(tasks.draw(0).classes.tolist()) <= easiest


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tasks": "clusters"}, "expected one of labeled, cactus, umtra, chaml"),
        ({"clusters": 20}, "clusters is 20, which has no effect with tasks=labeled"),
        ({"partitions": 2, "tasks": "umtra", "augment": "flip"}, "partitions is 2"),
        ({"embedding": "x"}, "embedding is 'x'"),
        ({"embedding": "x", "tasks": "chaml"}, "embedding is 'x'"),
        ({"easy_steps": 5}, "easy_steps is 5"),
        ({"tasks": "umtra"}, "give augment"),
        ({"tasks": "umtra", "augment": "flip", "unlabeled": "2"}, "unlabeled is '2'"),
        ({"tasks": "cactus", "label_noise": 0.1}, "label_noise is 0.1"),
        ({"tasks": "cactus", "within_groups": True}, "within_groups is True"),
        ({"tasks": "chaml", "objective": "classes"}, "leave tasks out"),
        ({"tasks": "cactus", "clusters": 1}, "clusters is 1"),
        (
            {"tasks": "cactus", "clusters": 20, "partitions": 2, "query": "200"},
            "use fewer clusters",
        ),
    ],
)
def test_invalid_options_raise_before_any_work(change, reason, tmp_path):
    with pytest.raises(ValueError, match=reason):
        runs.prepare(tmp_path / "run", {**PLAIN, **change})
    assert not (tmp_path / "run").exists()


def test_word_indices_need_an_embedding():
    words = gf.data.arrays(torch.rand(6, 4), [0, 1, 2] * 2)
    words = gf.Dataset("words", "all", words.x.long(), words.y, words.classes)
    config = runs.TrainConfig("prototypical", "fewrel", tasks="cactus", clusters=2)
    with pytest.raises(ConfigurationError, match="give a checkpoint as embedding"):
        runs.task_sources.training_tasks(config, words)
