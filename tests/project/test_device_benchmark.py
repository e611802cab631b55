"""The benchmark of one device: all sections run on the CPU, and a failure does not lose the others."""

import json

import pytest
import torch

from benchmarks.speed import device


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    out = tmp_path_factory.mktemp("device") / "cpu.json"
    measured = device.measure(torch.device("cpu"), repeats=1, small=True, out=out)
    return measured, json.loads(out.read_text())


def test_all_sections_have_a_result(result):
    measured, written = result
    errors = {name: measured[name].get("error") for name in device.SECTIONS}
    assert measured["failed"] == [], errors
    assert set(device.SECTIONS) < set(written)
    assert "skipped" in measured["gpu_tests"]["result"]


def test_all_precisions_are_measured(result):
    measured, _ = result
    rows = measured["egnn_training"]["result"]["tiny"]
    expected = {"plain, float32", "naive, bfloat16", "plain, bfloat16"}
    assert set(rows["times_as_fast"]) == expected
    assert all(share > 0 for share in rows["share_of_peak"].values())
    rates = measured["omniglot_episodes_per_second"]["result"]
    assert rates["plain, float32"] > 0
    assert rates["plain, bfloat16"] > 0


def test_a_failure_is_recorded_and_the_others_run(tmp_path):
    def fail(setting):
        raise RuntimeError("out of memory")

    sections = {"bad": fail, "good": lambda setting: {"value": 1}}
    out = tmp_path / "out.json"
    found = device.measure(torch.device("cpu"), small=True, out=out, sections=sections)
    assert found["bad"]["error"] == "RuntimeError: out of memory"
    assert found["good"]["result"] == {"value": 1}
    assert json.loads(out.read_text())["failed"] == ["bad"]


def test_no_section_begins_without_time():
    sections = {"late": lambda setting: {"value": 1}}
    found = device.measure(torch.device("cpu"), minutes=0.0, small=True, sections=sections)
    assert "raise --minutes" in found["late"]["error"]
