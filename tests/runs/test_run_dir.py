"""Files of a run folder: same bytes for the same seed, and the provenance of the best checkpoint."""

from safetensors.torch import load_file
from small_runs import OPTIONS, SAME, lines, same_files

import graphfew as gf
from graphfew import runs
from graphfew.runs import run_dir


def test_metrics_have_a_line_per_validation(complete_run):
    records = lines(complete_run)
    assert [r["step"] for r in records] == [3, 6, 7]
    assert set(records[0]) == {
        "step",
        "loss",
        "accuracy",
        "validation_accuracy",
        "validation_half_width",
    }
    assert sorted(p.name for p in complete_run.iterdir()) == sorted(
        [*SAME, "config.json", "timing.json"]
    )


def test_best_checkpoint_is_the_first_with_the_highest_accuracy(
    complete_run,
):
    records = lines(complete_run)
    chosen = max(records, key=lambda r: r["validation_accuracy"])["step"]
    provenance = gf.load(complete_run / "best").provenance
    assert provenance["step_selected"] == chosen
    assert (provenance["selected_on"], provenance["trained_on"]) == ("digits/all", "digits/all")
    assert (provenance["training_seed"], provenance["steps"]) == (0, 7)
    assert provenance["training_tasks"]["query"] == "varied(1-6, 0.5-100)"
    assert gf.load(complete_run / "last").provenance["selected_on"] is None


def test_best_checkpoint_reproduces_its_validation_accuracy(complete_run):
    state = runs.build_state(runs.TrainConfig.from_options(OPTIONS))
    result = gf.evaluate(gf.load(complete_run / "best"), state.validation, 4)
    assert result.mean == max(r["validation_accuracy"] for r in lines(complete_run))


def test_configuration_reproduces_the_run(complete_run):
    config, versions = run_dir.read_config(runs.RunDir(complete_run))
    assert config == runs.TrainConfig.from_options(OPTIONS)
    assert runs.TrainConfig.from_options(config.to_options()) == config
    assert versions == runs.versions()


def test_same_seed_gives_the_same_bytes(complete_run, tmp_path):
    runs.execute(runs.prepare(tmp_path / "again", OPTIONS))
    runs.execute(runs.prepare(tmp_path / "other", {**OPTIONS, "seed": 1}))
    assert all(same_files(complete_run, tmp_path / "again").values())
    assert not any(same_files(complete_run, tmp_path / "other").values())


def test_method_without_training_is_saved(tmp_path):
    options = {
        **OPTIONS,
        "method": "nearest_neighbor",
        "arguments": {"metric": "cosine"},
        "steps": 0,
    }
    runs.execute(runs.prepare(tmp_path / "run", options))
    (record,) = lines(tmp_path / "run")
    assert (record["step"], record["loss"]) == (0, None)
    assert runs.resume(tmp_path / "run", {}).progress.is_finished(runs.Schedule(steps=0))
    assert gf.load(tmp_path / "run" / "best").spec.arguments["metric"] == {"metric": "cosine"}


def test_optimizer_state_is_restored(complete_run):
    names = [
        key for key in load_file(complete_run / "last.safetensors") if key.startswith("optimizer/")
    ]
    assert names
    prepared = runs.resume(complete_run, {})
    assert {float(state["step"]) for state in prepared.state.optimizer.state.values()} == {7.0}
