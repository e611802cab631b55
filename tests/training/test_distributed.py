"""Two processes do what one does: the same losses and weights, the same evaluation, one run folder, and clear ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import graphfew as gf
from graphfew.training.distributed import (
    SINGLE_PROCESS,
    average_gradients,
    rank_range,
    synchronized_batch_norm,
)
from graphfew.training.fabric import launch

HERE = Path(__file__).parents[1]
OPTIONS = [
    "egnn",
    "--data",
    "glyphs",
    "--encoder-set",
    "width=4",
    "--set",
    "width=8",
    "--batch",
    "2",
    "--validate-every",
    "5",
    "--validate-tasks",
    "6",
]


class Placed:
    """One of several workers, the others being silent."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size

    def sum(self, value):
        return value * self.size

    def gather(self, value):
        return [value] * self.size


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    out = tmp_path_factory.mktemp("two") / "seen.json"
    run = ran([sys.executable, str(HERE / "two_processes.py"), str(out)])
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(out.read_text())


def ran(command):
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=300, check=False
    )


def begun(command):
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )


def environment():
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)]),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def command(tmp_path):
    """`graphfew train` as a script, which Fabric starts again for the second process."""
    script = tmp_path / "graphfew_command.py"
    script.write_text("from graphfew.cli import app\n\napp()\n")
    return [sys.executable, str(script), "train"]


def test_fifty_steps_have_the_losses_of_one_process(measured):
    assert measured["size"] == 2
    assert len(measured["together"]) == 50
    for (loss, accuracy), (alone, right) in zip(
        measured["together"], measured["alone"], strict=True
    ):
        assert loss == pytest.approx(alone, abs=1e-9)
        assert accuracy == right
    assert abs(measured["together"][0][0] - measured["together"][-1][0]) > 0.1


def test_both_processes_have_the_same_weights_after_them(measured):
    assert measured["equal"] is True


def test_an_evaluation_is_that_of_one_process_to_the_last_digit(measured):
    assert measured["shared"] == measured["whole"]
    assert len(measured["shared"]["per_task"]) == 37


def test_a_batch_is_shared_in_even_parts():
    parts = [rank_range(range(12, 20), Placed(rank, 4)) for rank in range(4)]
    assert [list(part) for part in parts] == [[12, 13], [14, 15], [16, 17], [18, 19]]
    with pytest.raises(
        ValueError,
        match="batch of 8 cannot be shared by 3 processes; give a batch that is a multiple",
    ):
        rank_range(range(8), Placed(0, 3))
    tasks = gf.Tasks(gf.data.glyphs("val"))
    with pytest.raises(ValueError, match="batch of 3 cannot be shared by 2"):
        gf.train(
            gf.create("egnn", encoder=gf.backbones.conv4()),
            tasks,
            loss=gf.edge_loss,
            batch=3,
            workers=Placed(0, 2),
        )


def test_gradients_that_nobody_has_stay_none():
    weights = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(1))]
    weights[0].grad = torch.tensor([1.0, 2.0])
    average_gradients(weights, Placed(0, 2))
    assert weights[0].grad.tolist() == [1.0, 2.0]
    assert weights[1].grad is None


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(3), nn.BatchNorm2d(3)])
def test_joint_statistics_of_equal_parts_are_those_of_one(norm):
    """Sums that are doubled are those of two processes with the same batch."""
    shape = (5, 3) if isinstance(norm, nn.BatchNorm1d) else (5, 3, 2, 2)
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    net = nn.Sequential(norm.double())
    plain = nn.Sequential(type(norm)(3).double())
    names = list(net.state_dict())
    with synchronized_batch_norm(net, Placed(0, 2)):
        assert list(net.state_dict()) == names
        ours = net.train()(x)
        frozen = net.eval()(x)
    theirs = plain.train()(torch.cat([x, x]))
    assert torch.allclose(ours, theirs[:5], rtol=0, atol=1e-12)
    assert net[0] is norm
    assert not norm.training
    for name, value in plain.state_dict().items():
        assert torch.allclose(value.double(), net.state_dict()[name].double(), rtol=0, atol=1e-12)
    assert torch.equal(frozen, net(x))


def test_joint_statistics_of_a_norm_without_weights():
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    net, plain = (nn.Sequential(nn.BatchNorm1d(3, affine=False)) for _ in range(2))
    with synchronized_batch_norm(net, Placed(0, 2)):
        ours = net(x)
    assert torch.allclose(ours, plain(torch.cat([x, x]))[:5], rtol=0, atol=1e-6)


def test_joint_statistics_of_half_precision_are_kept_in_float32():
    x = (5 + 0.1 * torch.randn(7, 3, 31, 31, generator=torch.Generator().manual_seed(0))).bfloat16()
    net, plain = (nn.Sequential(nn.BatchNorm2d(3)) for _ in range(2))
    with synchronized_batch_norm(net, Placed(0, 2)):
        ours = net(x)
    theirs = plain(torch.cat([x, x]))[:7]
    assert ours.dtype == theirs.dtype
    assert torch.allclose(ours.float(), theirs.float(), rtol=0, atol=0.016)
    for name, value in plain.state_dict().items():
        assert torch.allclose(value, net.state_dict()[name], rtol=1e-6, atol=0)


def test_one_process_is_left_alone():
    net = nn.Sequential(nn.BatchNorm2d(3))
    with synchronized_batch_norm(net, SINGLE_PROCESS):
        assert type(net[0]) is nn.BatchNorm2d
    assert SINGLE_PROCESS.gather(3) == [3]


def test_jobs_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="1 processes on 1 machines are no job for several"):
        launch(1)
    with pytest.raises(
        ValueError, match="device is 'mps'; several processes work on cpu, or on cuda"
    ):
        launch(2, "mps")


def test_missing_fabric_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ModuleNotFoundError, match=r"install graphfew\[distributed\]"):
        launch(2)


def test_the_command_trains_in_one_folder(tmp_path, command):
    out = tmp_path / "run"
    run = ran([*command, *OPTIONS, "--steps", "10", "--processes", "2", "--out", str(out)])
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.count("Done: best validation accuracy") == 1
    assert [
        json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()
    ] == [5, 10]
    assert sorted(path.name for path in out.iterdir()) == [
        "best.safetensors",
        "config.json",
        "last.safetensors",
        "metrics.jsonl",
        "timing.json",
    ]
    again = ran([*command, *OPTIONS, "--steps", "10", "--processes", "2", "--out", str(out)])
    assert again.returncode != 0
    assert "is not empty; give another folder" in again.stderr


def test_a_killed_process_ends_the_run_which_can_go_on(tmp_path, command):
    out = tmp_path / "run"
    run = begun([*command, *OPTIONS, "--steps", "100000", "--processes", "2", "--out", str(out)])
    try:
        waited(lambda: (out / "last.safetensors").is_file(), run)
        [other] = children(run.pid)
        os.kill(other, signal.SIGKILL)
        _, told = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 3
    assert "another process of this job has ended" in told
    assert f"go on with: graphfew train --resume --out {out} --processes 2" in told
    done = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    on = begun([*command, "--resume", "--out", str(out)])
    try:
        waited(
            lambda: json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["step"] > done,
            on,
        )
    finally:
        on.kill()
        on.communicate()


def waited(come, process, seconds=120):
    end = time.monotonic() + seconds
    while not come():
        assert process.poll() is None, process.stderr.read()[-2000:]
        assert time.monotonic() < end
        time.sleep(0.1)


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
