"""What a figure was made with."""

import mmap
import shutil
import subprocess
import sys

import pytest
import torch

from graphfew.benchmark import environment

CPU = torch.device("cpu")


def git(folder, *arguments):
    subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
        check=True,
        capture_output=True,
    )


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not here")
def test_the_commit_says_whether_the_source_has_changes(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "code.py").write_text("x = 1\n")
    assert environment.commit(package) is None
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    head = environment.commit(package)
    assert head is not None
    assert len(head) == 40
    (tmp_path / "results.jsonl").write_text("beside the source\n")
    assert environment.commit(package) == head
    (package / "code.py").write_text("x = 2\n")
    assert environment.commit(package) == head + "+"


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.commit() is None


def test_versions_say_what_is_not_installed(monkeypatch):
    known = environment.all_versions()
    assert known["torch"] == torch.__version__
    assert known["torch_geometric"] is not None
    monkeypatch.setattr(environment, "version", _missing)
    assert environment.all_versions()["torch_scatter"] is None


def _missing(name):
    raise environment.PackageNotFoundError(name)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_peak_memory_is_of_the_block():
    with environment.memory(CPU) as peak:
        before = peak()
        with mmap.mmap(-1, 40_000_000) as block:
            block.write(bytes(40_000_000))
        during = peak()
    with environment.memory(CPU) as peak:
        after = peak()
    assert during - before > 30_000_000
    assert after < during


def test_where_the_system_does_not_tell_peak_memory_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "MEMORY", tmp_path / "nowhere")
    with environment.memory(CPU) as peak:
        assert peak() is None


def test_the_processor_has_a_name(tmp_path):
    assert environment.machine(CPU)
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A Good One @ 3 GHz\n")
    assert environment._processor(tmp_path / "cpuinfo") == "A Good One @ 3 GHz"
    assert environment._processor(tmp_path / "nowhere") is None
