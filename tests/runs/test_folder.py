"""What a run leaves in its folder: the same bytes for the same seed, and a best checkpoint that tells its story."""

from safetensors.torch import load_file
from small_runs import OPTIONS, SAME, lines, same_files

import graphfew as gf
from graphfew import runs
from graphfew.runs import run_dir


def test_a_run_writes_its_metrics_at_every_validation_and_at_the_end(whole):
    records = lines(whole)
    assert [r["step"] for r in records] == [3, 6, 7]
    assert set(records[0]) == {
        "step",
        "loss",
        "accuracy",
        "validation_accuracy",
        "validation_half_width",
    }
    assert sorted(p.name for p in whole.iterdir()) == sorted([*SAME, "config.json", "timing.json"])


def test_the_best_checkpoint_is_the_first_of_the_highest_validation_and_says_how_it_was_chosen(
    whole,
):
    records = lines(whole)
    chosen = max(records, key=lambda r: r["validation_accuracy"])["step"]
    provenance = gf.load(whole / "best").provenance
    assert provenance["step_selected"] == chosen
    assert (provenance["selected_on"], provenance["trained_on"]) == ("digits/all", "digits/all")
    assert (provenance["training_seed"], provenance["steps"]) == (0, 7)
    assert provenance["training_tasks"]["query"] == "varied(1-6, 0.5-100)"
    assert gf.load(whole / "last").provenance["selected_on"] is None


def test_the_best_checkpoint_repeats_its_validation_accuracy(whole):
    job = runs.build(runs.TrainConfig.of(OPTIONS))
    result = gf.evaluate(gf.load(whole / "best"), job.validation, 4)
    assert result.mean == max(r["validation_accuracy"] for r in lines(whole))


def test_the_configuration_repeats_the_run(whole):
    config, versions = run_dir.read_config(runs.Run(whole))
    assert config == runs.TrainConfig.of(OPTIONS)
    assert runs.TrainConfig.of(config.flat()) == config
    assert versions == runs.versions()


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(whole, tmp_path):
    runs.execute(runs.prepare(tmp_path / "again", OPTIONS))
    runs.execute(runs.prepare(tmp_path / "other", {**OPTIONS, "seed": 1}))
    assert all(same_files(whole, tmp_path / "again").values())
    assert not any(same_files(whole, tmp_path / "other").values())


def test_no_steps_writes_a_method_that_needs_no_training(tmp_path):
    options = {
        **OPTIONS,
        "method": "nearest_neighbor",
        "arguments": {"metric": "cosine"},
        "steps": 0,
    }
    runs.execute(runs.prepare(tmp_path / "run", options))
    (record,) = lines(tmp_path / "run")
    assert (record["step"], record["loss"]) == (0, None)
    assert runs.finished(runs.reopen(tmp_path / "run", {}).tally, runs.Schedule(steps=0))
    assert gf.load(tmp_path / "run" / "best").spec.arguments["metric"] == {"metric": "cosine"}


def test_the_optimizer_goes_on_from_its_moments(whole):
    names = [key for key in load_file(whole / "last.safetensors") if key.startswith("optimizer/")]
    assert names
    prepared = runs.reopen(whole, {})
    assert {float(state["step"]) for state in prepared.job.optimizer.state.values()} == {7.0}
