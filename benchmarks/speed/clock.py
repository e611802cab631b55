"""Times of several ways to do one thing, in turn, so that a busy machine is busy for all of them."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from graphfew.benchmark import environment as bench_machine

Call = Callable[[], object]


def seconds(call: Call, timer: Callable[[], float] = time.perf_counter) -> float:
    """How long one call takes."""
    gc.collect()
    begin = timer()
    call()
    return timer() - begin


def interleaved(
    calls: Mapping[str, Call], repeats: int, timer: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each call, so many times in turn, after one of each to warm up."""
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            times[name].append(seconds(call, timer))
    return times


def medians(times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each."""
    return {name: statistics.median(values) for name, values in times.items()}


def ratios(times: Mapping[str, Sequence[float]], of: str) -> dict[str, float]:
    """How many times as long the one call takes as each other: the median over turns of the ratio in that turn."""
    return {
        name: statistics.median(a / b for a, b in zip(times[of], values, strict=True))
        for name, values in times.items()
        if name != of
    }


def machine() -> dict[str, object]:
    """What the times hang on."""
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "processor": bench_machine.machine(torch.device("cpu")),
        "cores": os.cpu_count(),
        "malloc": os.environ.get("MALLOC_MMAP_MAX_", "default"),
    }
