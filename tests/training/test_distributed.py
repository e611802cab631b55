"""Two processes equal one: losses, weights, evaluation; and how a job ends if a process dies."""

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
from graphfew.training._batch_norm import synchronized_batch_norm
from graphfew.training.distributed import SINGLE_PROCESS, average_gradients, shard_batch
from graphfew.training.fabric import launch

TESTS = Path(__file__).parents[1]
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


class FakeProcessGroup:
    """One of several processes, all of which have the same values."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size

    def sum(self, value):
        return value * self.size

    def gather(self, value):
        return [value] * self.size


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    out = tmp_path_factory.mktemp("two") / "results.json"
    run = run_command([sys.executable, str(TESTS / "two_processes.py"), str(out)])
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(out.read_text())


def run_command(command):
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=300, check=False
    )


def start_command(command):
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )


def environment():
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def command(tmp_path):
    """`graphfew train` as a script, which Fabric runs again for the second process."""
    script = tmp_path / "graphfew_command.py"
    script.write_text("from graphfew.cli import app\n\napp()\n")
    return [sys.executable, str(script), "train"]


def test_fifty_steps_have_the_losses_of_one_process(two_processes):
    assert two_processes["size"] == 2
    assert len(two_processes["losses"]) == 50
    for (loss, accuracy), (single_loss, single_accuracy) in zip(
        two_processes["losses"], two_processes["single_losses"], strict=True
    ):
        assert loss == pytest.approx(single_loss, abs=1e-9)
        assert accuracy == single_accuracy
    assert abs(two_processes["losses"][0][0] - two_processes["losses"][-1][0]) > 0.1


def test_both_processes_have_the_same_weights(two_processes):
    assert two_processes["equal_weights"] is True


def test_evaluation_equals_that_of_one_process(two_processes):
    assert two_processes["result"] == two_processes["single_result"]
    assert len(two_processes["result"]["per_task"]) == 37


def test_batch_is_split_evenly():
    parts = [shard_batch(range(12, 20), FakeProcessGroup(rank, 4)) for rank in range(4)]
    assert [list(part) for part in parts] == [[12, 13], [14, 15], [16, 17], [18, 19]]
    with pytest.raises(
        ValueError,
        match="batch of 8 cannot be split evenly over 3 processes; use a batch size that",
    ):
        shard_batch(range(8), FakeProcessGroup(0, 3))
    tasks = gf.Tasks(gf.data.glyphs("val"))
    with pytest.raises(ValueError, match="batch of 3 cannot be split evenly over 2"):
        gf.train(
            gf.create("egnn", encoder=gf.backbones.conv4()),
            tasks,
            loss=gf.edge_loss,
            batch=3,
            process_group=FakeProcessGroup(0, 2),
        )


def test_gradient_that_no_process_has_stays_none():
    weights = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(1))]
    weights[0].grad = torch.tensor([1.0, 2.0])
    average_gradients(weights, FakeProcessGroup(0, 2))
    assert weights[0].grad.tolist() == [1.0, 2.0]
    assert weights[1].grad is None


def test_gradients_of_mixed_dtypes_keep_their_dtype():
    dtypes = [torch.float32, torch.float64, torch.bfloat16, torch.float64]
    weights = [nn.Parameter(torch.ones(2, dtype=dtype)) for dtype in dtypes]
    for weight in weights[:3]:
        weight.grad = torch.full_like(weight, 1.0 + 2.0**-40)
    average_gradients(weights, FakeProcessGroup(0, 2))
    assert [weight.grad.dtype for weight in weights[:3]] == dtypes[:3]
    assert weights[1].grad.tolist() == [1.0 + 2.0**-40] * 2
    assert weights[3].grad is None


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(3), nn.BatchNorm2d(3)])
def test_batch_norm_statistics_equal_those_of_the_whole_batch(norm):
    """Doubled sums are those of two processes with the same batch."""
    shape = (5, 3) if isinstance(norm, nn.BatchNorm1d) else (5, 3, 2, 2)
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    net = nn.Sequential(norm.double())
    plain = nn.Sequential(type(norm)(3).double())
    names = list(net.state_dict())
    with synchronized_batch_norm(net, FakeProcessGroup(0, 2)):
        assert list(net.state_dict()) == names
        output = net.train()(x)
        frozen = net.eval()(x)
    expected = plain.train()(torch.cat([x, x]))
    assert torch.allclose(output, expected[:5], rtol=0, atol=1e-12)
    assert net[0] is norm
    assert not norm.training
    for name, value in plain.state_dict().items():
        assert torch.allclose(value.double(), net.state_dict()[name].double(), rtol=0, atol=1e-12)
    assert torch.equal(frozen, net(x))


def test_batch_norm_without_affine_weights():
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    net, plain = (nn.Sequential(nn.BatchNorm1d(3, affine=False)) for _ in range(2))
    with synchronized_batch_norm(net, FakeProcessGroup(0, 2)):
        output = net(x)
    assert torch.allclose(output, plain(torch.cat([x, x]))[:5], rtol=0, atol=1e-6)


@pytest.mark.parametrize("dims", [(), (2, 2)])
def test_batch_norm_without_running_statistics(dims):
    kind = nn.BatchNorm2d if dims else nn.BatchNorm1d
    x = torch.randn(5, 3, *dims, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    net, plain = (nn.Sequential(kind(3, track_running_stats=False).double()) for _ in range(2))
    with synchronized_batch_norm(net, FakeProcessGroup(0, 2)):
        output = net(x)
    assert torch.allclose(output, plain(torch.cat([x, x]))[:5], rtol=0, atol=1e-12)
    assert net[0].running_mean is None


def test_batch_norm_statistics_of_half_precision_are_float32():
    x = (5 + 0.1 * torch.randn(7, 3, 31, 31, generator=torch.Generator().manual_seed(0))).bfloat16()
    net, plain = (nn.Sequential(nn.BatchNorm2d(3)) for _ in range(2))
    with synchronized_batch_norm(net, FakeProcessGroup(0, 2)):
        output = net(x)
    expected = plain(torch.cat([x, x]))[:7]
    assert output.dtype == expected.dtype
    assert torch.allclose(output.float(), expected.float(), rtol=0, atol=0.016)
    for name, value in plain.state_dict().items():
        assert torch.allclose(value, net.state_dict()[name], rtol=1e-6, atol=0)


def test_single_process_changes_nothing():
    net = nn.Sequential(nn.BatchNorm2d(3))
    with synchronized_batch_norm(net, SINGLE_PROCESS):
        assert type(net[0]) is nn.BatchNorm2d
    assert SINGLE_PROCESS.gather(3) == [3]


def test_launch_rejects_invalid_jobs():
    with pytest.raises(ValueError, match=r"at least 2 processes, got 1 on 1 machine"):
        launch(1)
    with pytest.raises(
        ValueError, match="unsupported device 'mps' for several processes; use cpu or cuda"
    ):
        launch(2, "mps")


def test_missing_fabric_raises(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ModuleNotFoundError, match=r"install graphfew\[distributed\]"):
        launch(2)


def test_train_command_writes_one_run_folder(tmp_path, command):
    out = tmp_path / "run"
    run = run_command([*command, *OPTIONS, "--steps", "10", "--processes", "2", "--out", str(out)])
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
    again = run_command(
        [*command, *OPTIONS, "--steps", "10", "--processes", "2", "--out", str(out)]
    )
    assert again.returncode != 0
    assert "is not empty; give another folder" in again.stderr


def test_killed_process_ends_the_run_which_can_be_resumed(tmp_path, command):
    out = tmp_path / "run"
    run = start_command(
        [*command, *OPTIONS, "--steps", "100000", "--processes", "2", "--out", str(out)]
    )
    try:
        wait_until(lambda: (out / "last.safetensors").is_file(), run)
        [other] = children(run.pid)
        os.kill(other, signal.SIGKILL)
        _, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 3
    assert "another process of this job has ended" in err
    assert f"continue with: graphfew train --resume --out {out} --processes 2" in err
    done = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    resumed = start_command([*command, "--resume", "--out", str(out)])
    try:
        wait_until(
            lambda: json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])["step"] > done,
            resumed,
        )
    finally:
        resumed.kill()
        resumed.communicate()


def wait_until(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()[-2000:]
        assert time.monotonic() < end
        time.sleep(0.1)


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
