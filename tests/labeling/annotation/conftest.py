"""Small annotations: three clusters of texts, and a client of their pages."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from graphfew.labeling.active import build_item_graph
from graphfew.labeling.annotation.event_log import EventLog, describe_items
from graphfew.labeling.annotation.items import AnnotationItems
from graphfew.labeling.annotation.service import AnnotationService

N_ITEMS = 60


def make_items(labels: tuple[str | None, ...] = (None,) * N_ITEMS) -> AnnotationItems:
    generator = np.random.default_rng(0)
    cluster = np.arange(N_ITEMS) % 3
    features = 8 * np.eye(3, 6)[cluster] + generator.normal(size=(N_ITEMS, 6))
    names = tuple(f"item {index}" for index in range(N_ITEMS))
    texts = tuple(f"text {index} of <b>cluster {index % 3}</b>" for index in range(N_ITEMS))
    return AnnotationItems("text", names, texts, features.astype(np.float32), labels)


@pytest.fixture(scope="session")
def items() -> AnnotationItems:
    return make_items()


@pytest.fixture(scope="session")
def item_graph(items):
    import torch

    return build_item_graph(torch.from_numpy(items.features))


@pytest.fixture
def make_service(items, item_graph, tmp_path):
    """Open an annotation; a second call with the same name continues it."""
    opened = []

    def make(name: str = "log", **options: object) -> AnnotationService:
        path: Path = tmp_path / name
        for other in opened:
            if other.path == path:
                other.close()
        log = EventLog(path, describe_items("items.csv", items.names))
        opened.append(log)
        return AnnotationService(items, log, item_graph, **options)

    yield make
    for log in opened:
        log.close()


def field_of(page: str, name: str) -> str:
    """The value of the first field with this name in a page."""
    found = re.search(f'name="{name}" value="([^"]*)"', page)
    assert found, name
    return found[1]
