"""What a figure was made with: commit, versions, machine, memory."""

from __future__ import annotations

import datetime
import platform
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from graphfew._utils.model_spec import JSON
from graphfew.runs import versions

Peak = Callable[[], int | None]
MEMORY = Path("/proc/self")


def commit(folder: Path = Path(__file__).parent.parent) -> str | None:
    """The commit of the package's source, with "+" where the source has changes; None outside a repository."""
    head = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", ".")
    return None if not head or changes is None else head + ("+" if changes else "")


def all_versions() -> dict[str, JSON]:
    """The versions that a result may hang on; None for what is not installed."""
    return {
        **versions(),
        **{name.replace("-", "_"): _version(name) for name in ("torch-geometric", "torch-scatter")},
    }


def machine(device: torch.device) -> str:
    """The processor or the accelerator, in words."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return _processor(Path("/proc/cpuinfo")) or platform.processor() or platform.machine()


def now() -> str:
    """The time, ISO 8601, UTC."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def memory(device: torch.device) -> Iterator[Peak]:
    """A function that gives the most bytes held at a time since the block began, of the accelerator where there is one;
    None where the system does not tell.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: int(torch.cuda.max_memory_allocated(device))
        return
    try:
        (MEMORY / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        yield lambda: None
        return
    yield _high_water


def _high_water() -> int | None:
    for line in (MEMORY / "status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def _processor(path: Path) -> str | None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
