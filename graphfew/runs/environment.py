"""The environment of a measurement: commit, versions, machine and memory."""

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

PROC = Path("/proc/self")
CPU_INFO = Path("/proc/cpuinfo")
PACKAGE = Path(__file__).parents[1]


def package_commit(package: Path = PACKAGE) -> str | None:
    """Return the commit of the checkout that the package is in, with "+" if its files changed.

    Returns:
        None if the package is not part of a repository. An installed package may lie inside an
        unrelated repository (a virtual environment usually does), so the files must be tracked.
    """
    if not _git(package, "ls-files", "--error-unmatch", "__init__.py"):
        return None
    head = _git(package, "rev-parse", "HEAD")
    # Below the package only: a run changes the results files of the checkout itself.
    changes = _git(package, "status", "--porcelain", ".")
    if not head or changes is None:
        return None
    return f"{head}+" if changes else head


def versions() -> dict[str, JSON]:
    """Return the versions that affect results, and the number of threads.

    The number of threads decides the order of floating-point sums.

    Returns:
        Versions of Python, graphfew, torch and numpy, and `threads`.

    Example:
        >>> from graphfew.runs import versions
        >>> sorted(versions())
        ['graphfew', 'numpy', 'python', 'threads', 'torch']
    """
    # Not `package.__version__`, which would import the packages.
    packages = {name: version(name) for name in ("graphfew", "torch", "numpy")}
    return {
        "python": platform.python_version(),
        **packages,
        # It changes the order of floating-point sums, and with it the last digits of results.
        "threads": torch.get_num_threads(),
    }


def all_versions() -> dict[str, JSON]:
    """Return the versions that may affect a result; None for packages that are not installed."""
    found = dict(versions())
    for name in ("torch-geometric", "torch-scatter"):
        found[name.replace("-", "_")] = _version(name)
    return found


def machine_name(device: torch.device) -> str:
    """Return the name of the processor or accelerator."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return _processor_name(CPU_INFO) or platform.processor() or platform.machine()


def utc_now() -> str:
    """Return the current time, ISO 8601, UTC."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Callable[[], int | None]]:
    """Yield a function that returns the peak memory in bytes since the block was entered.

    It measures the accelerator if there is one, else the process, and returns None where the
    system does not report it.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: int(torch.cuda.max_memory_allocated(device))
        return
    try:
        # Linux: writing 5 resets the high-water mark of the resident memory.
        (PROC / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        yield lambda: None
        return
    yield _resident_high_water


def _resident_high_water() -> int | None:
    for line in (PROC / "status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            # The kernel reports kB.
            return int(line.split()[1]) * 1024
    return None


def _processor_name(path: Path) -> str | None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    # Provenance is optional: without git, or on a file system that hangs, a run must not fail.
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
