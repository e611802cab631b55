"""Operation counts of the speed benchmarks equal those of torch."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import graphfew as gf
from benchmarks.speed import device_models, egnn, floors, shapes
from benchmarks.speed.device_setting import Setting


def count_multiply_adds(call):
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("inductive", [False, True])
def test_multiply_adds_of_a_prediction(inductive):
    model, (episode, _) = egnn.model().eval(), shapes.episode(5, 2, 2, 2)
    episode = episode.inductive() if inductive else episode
    work = floors.egnn_path(model, episode, training=False)
    with torch.no_grad():
        counted = count_multiply_adds(lambda: model.predict_logits(episode))
    assert counted == pytest.approx(work.pair_products + work.other_products, rel=0.03)


def test_multiply_adds_of_a_training_step():
    model, (episode, target) = egnn.model(), shapes.episode(5, 2, 2, 2)
    work = floors.egnn_path(model, episode, training=True)
    counted = count_multiply_adds(lambda: gf.edge_loss(model(episode), target).backward())
    assert counted == pytest.approx(work.pair_products + work.other_products, rel=0.03)


def test_device_table_has_every_implementation(monkeypatch):
    # Compiling takes minutes, and tests/nn/test_compile.py has it.
    monkeypatch.setattr(torch, "compile", lambda run, **_: run)
    tiny = {"small": (2, 1, 1, 2)}
    monkeypatch.setattr(egnn, "ANSWERS", tiny)
    monkeypatch.setattr(egnn, "TRAINING", tiny)
    monkeypatch.setattr(egnn, "INDUCTIVE", (2, 1, 1, 1))
    monkeypatch.setattr(egnn, "WIDTH", 8)
    setting = Setting(torch.device("cpu"), repeats=1, small=False, deadline=math.inf)
    for measure in (device_models.predictions, device_models.training):
        for row in measure(setting).values():
            ways = {
                f"{way}, {kind}"
                for way in ("naive", "plain", "compiled")
                for kind in ("float32", "bfloat16")
            }
            assert set(row["share_of_peak"]) == ways
            assert set(row["times_as_fast"]) == ways - {"naive, float32"}
            assert all(share > 0 for share in row["share_of_peak"].values())
