"""What a figure was made with."""

import mmap
import shutil
import subprocess
import sys

import pytest
import torch

from graphfew.runs import environment

CPU = torch.device("cpu")


def git(folder, *arguments):
    subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
        check=True,
        capture_output=True,
    )


@pytest.fixture
def package(tmp_path):
    """A package folder in a new repository, which does not track it yet."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "__init__.py").write_text("x = 1\n")
    git(tmp_path, "init")
    return folder


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@needs_git
def test_the_commit_shows_whether_the_source_has_changes(tmp_path, package):
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    head = environment.package_commit(package)
    assert head is not None
    assert len(head) == 40
    (tmp_path / "results.jsonl").write_text("next to the source\n")
    assert environment.package_commit(package) == head
    (package / "__init__.py").write_text("x = 2\n")
    assert environment.package_commit(package) == head + "+"


@needs_git
def test_the_commit_of_a_repository_around_an_installed_package_is_not_used(tmp_path, package):
    """A virtual environment usually lies in the repository of some other project."""
    (tmp_path / "other.py").write_text("y = 1\n")
    git(tmp_path, "add", "other.py")
    git(tmp_path, "commit", "-m", "another project")
    assert environment.package_commit(package) is None


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.package_commit() is None


def test_versions_say_what_is_not_installed(monkeypatch):
    known = environment.all_versions()
    assert known["torch"] == torch.__version__
    assert known["torch_geometric"] is not None
    monkeypatch.setattr(environment, "version", _missing)
    assert environment.all_versions()["torch_scatter"] is None


def _missing(name):
    if name == "torch-scatter":
        raise environment.PackageNotFoundError(name)
    return "1.0"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_peak_memory_is_of_the_block():
    with environment.peak_memory(CPU) as peak:
        before = peak()
        with mmap.mmap(-1, 40_000_000) as block:
            block.write(bytes(40_000_000))
        during = peak()
    with environment.peak_memory(CPU) as peak:
        after = peak()
    assert during - before > 30_000_000
    assert after < during


def test_where_the_system_does_not_tell_peak_memory_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "PROC", tmp_path / "nowhere")
    with environment.peak_memory(CPU) as peak:
        assert peak() is None


def test_the_processor_has_a_name(tmp_path):
    assert environment.machine_name(CPU)
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A Good One @ 3 GHz\n")
    assert environment._processor_name(tmp_path / "cpuinfo") == "A Good One @ 3 GHz"
    assert environment._processor_name(tmp_path / "nowhere") is None
