"""Interleaved timing of several implementations, so that other load affects all of them."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

from graphfew.runs import environment as bench_machine

Call = Callable[[], object]


def seconds(call: Call, timer: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call."""
    gc.collect()
    begin = timer()
    call()
    return timer() - begin


def interleaved(
    calls: Mapping[str, Call], repeats: int, timer: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each call, `repeats` times in turn, after one warm-up call each."""
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            times[name].append(seconds(call, timer))
    return times


def medians(times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Median of each implementation."""
    return {name: statistics.median(values) for name, values in times.items()}


def ratios(times: Mapping[str, Sequence[float]], of: str) -> dict[str, float]:
    """Speedup of each implementation over `of`: the median over rounds of the ratio within a round."""
    return {
        name: statistics.median(a / b for a, b in zip(times[of], values, strict=True))
        for name, values in times.items()
        if name != of
    }


def machine() -> dict[str, object]:
    """Machine and versions of a measurement."""
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "processor": bench_machine.machine_name(torch.device("cpu")),
        "cores": os.cpu_count(),
        "malloc": os.environ.get("MALLOC_MMAP_MAX_", "default"),
    }
