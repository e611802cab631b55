"""Nearest neighbors and label spreading of many items on one device."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

import graphfew as gf
from benchmarks.speed.device_setting import Setting

CLASSES, DIM, K, ALPHA, NOISE = 150, 384, 10, 0.8, 2.0
# In float32 one million items take 1.5 GB; the exact search computes 10^12 distances.
SIZES = {"cpu": (10_000,), "cuda": (100_000, 1_000_000)}


def many_items(setting: Setting) -> dict[str, object]:
    """Seconds of the exact kNN search and of label spreading, and the accuracy with one label per class."""
    sizes = (400,) if setting.small else SIZES[setting.device.type]
    out: dict[str, object] = {}
    for n_items in sizes:
        setting.check_time()
        out[f"{n_items:,} items"] = _spread(n_items, setting)
    return out


@torch.no_grad()
def _spread(n_items: int, setting: Setting) -> dict[str, float]:
    x, y = _features(n_items, setting.device)
    n_classes = int(y.max()) + 1
    search = gf.propagation.exact_cosine_search
    # Warms the device up, on a part that takes no time.
    gf.propagation.sparse_cosine_power(x[:200], K, search=search)
    build = functools.partial(gf.propagation.sparse_cosine_power, x, K, search=search)
    (topology, weights), search_seconds = _timed(build, setting)
    label = torch.zeros(n_items, n_classes, device=setting.device)
    label[torch.arange(n_classes), y[:n_classes]] = 1
    spread = functools.partial(gf.propagation.spread_labels, topology, weights, label, ALPHA)
    scores, spread_seconds = _timed(spread, setting)
    is_right = (scores.argmax(1) == y)[n_classes:]
    result = {
        "edges": len(weights),
        "search_seconds": search_seconds,
        "distances_per_second": n_items**2 / search_seconds,
        "spread_seconds": spread_seconds,
        "accuracy": float(is_right.float().mean()),
    }
    if setting.device.type == "cuda":
        result["peak_bytes"] = torch.cuda.max_memory_allocated(setting.device)
    return result


def _features(n_items: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit-length features around class centers, made in parts, and their classes."""
    generator = torch.Generator(device).manual_seed(0)
    n_classes = min(CLASSES, n_items // 20)
    centers = torch.randn(n_classes, DIM, generator=generator, device=device)
    centers = F.normalize(centers, dim=1)
    y = torch.arange(n_items, device=device) % n_classes
    parts = []
    for rows in y.split(100_000):
        noise = torch.randn(len(rows), DIM, generator=generator, device=device)
        parts.append(F.normalize(centers[rows] + NOISE / DIM**0.5 * noise, dim=1))
    return torch.cat(parts), y


def _timed(call: Callable[[], object], setting: Setting) -> tuple:  # type: ignore[type-arg]
    setting.synchronize()
    begin = time.perf_counter()
    result = call()
    setting.synchronize()
    return result, time.perf_counter() - begin
