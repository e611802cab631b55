"""What `graphfew annotate` does."""

from __future__ import annotations

import dataclasses
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from graphfew.cli import console
from graphfew.cli._source_items import choose_encoder, encode_source, read_reported_source
from graphfew.encoders import find_encoder
from graphfew.errors import ConfigurationError, MissingDependencyError
from graphfew.labeling.active import build_item_graph
from graphfew.labeling.annotation.event_log import EventLog, describe_items
from graphfew.labeling.annotation.items import AnnotationItems, row_keys
from graphfew.labeling.annotation.service import AnnotationService
from graphfew.labeling.label_sources import LabelSource, check_source
from graphfew.labeling.source_options import SourceOptions

NEEDED = ("starlette", "uvicorn", "jinja2")


@dataclasses.dataclass(frozen=True)
class AnnotateRequest:
    """The options of the command.

    Attributes:
        source: a folder or file of items.
        encoder: name of an encoder; None for the default one of the kind of items.
        log: the file of labels; None for one next to the source.
        image_root: the folder of all images; None for that of the source.
        port: port of the page; 0 for any free one.
        check_every: every how many-th item is drawn at random; 0 for none.
        options: how the source is read.
    """

    source: Path
    encoder: str | None
    log: Path | None
    image_root: Path | None
    port: int
    check_every: int
    options: SourceOptions

    @property
    def log_path(self) -> Path:
        """The file of labels."""
        # Resolved, because `.` has no name.
        source = self.source.resolve()
        return self.log or source.with_name(f"{source.name}.annotations.jsonl")

    @property
    def root(self) -> Path:
        """The folder of all images."""
        if self.image_root is not None:
            return self.image_root
        return self.source if self.source.is_dir() else self.source.absolute().parent


def run_annotate(request: AnnotateRequest) -> None:
    """Read and encode the items, and serve the page until Ctrl-C."""
    check_installed()
    from graphfew.labeling.annotation.server import bind, serve

    check_source(request.source)
    _check_log(request)
    encoder = None if request.encoder is None else find_encoder(request.encoder)
    screen = console.stdout_console()
    # The port and the log come before the items are encoded, which may take minutes.
    opened = bind(request.port)
    try:
        source = read_reported_source(request.source, request.options, screen)
        encoder = choose_encoder(source, encoder)
        items = describe_source(source, request.root)
        header = describe_items(str(request.source), items.keys)
        with EventLog(request.log_path, header) as log:
            features = encode_source(source, encoder, screen).astype(np.float32, copy=False)
            items = dataclasses.replace(items, features=features)
            graph = build_item_graph(_as_tensor(features))
            service = AnnotationService(items, log, graph, request.check_every)
            is_busy = serve(
                service,
                opened,
                request.source.resolve().name,
                lambda address: _print_start(screen, service, request.log_path, address),
                lambda error: console.print_lines(screen, [f"Background work failed: {error}"]),
            )
            _print_end(screen, service, request.log_path)
    finally:
        opened.close()
    if is_busy:
        # The interpreter cannot end while torch computes in a thread: it aborts. Nothing is lost,
        # because all labels are on disk.
        screen.file.flush()
        os._exit(0)


def check_installed() -> None:
    """Raise MissingDependencyError if a package of the extra `annotate` is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"graphfew annotate needs {', '.join(missing)}, which is not installed; "
            'run pip install "graphfew[annotate]"'
        )


def describe_source(source: LabelSource, root: Path) -> AnnotationItems:
    """Check the items of a source, and give them keys; they have no features yet.

    Args:
        source: the items.
        root: the folder of all images.

    Returns:
        The items, with a feature that is zero.

    Raises:
        ConfigurationError: images are outside the root.
        InvalidInputError: names are not distinct, or there are fewer than two items.
    """
    keys = row_keys(source.items) if source.is_numbered else source.names
    features = np.zeros((len(source), 1), dtype=np.float32)
    items = AnnotationItems(
        source.kind, source.names, source.items, features, source.labels, root, keys
    )
    _check_paths(items)
    return items


def _check_paths(items: AnnotationItems) -> None:
    outside = items.paths_outside()
    if outside:
        raise ConfigurationError(
            f"{len(outside)} images are outside {items.root}, such as {outside[0]}; move them there, "
            "or give the folder that may be shown with --image-root"
        )


def _check_log(request: AnnotateRequest) -> None:
    path = request.log_path
    if path.is_dir():
        raise ConfigurationError(f"--log {path} is a folder; give a file")
    if path.exists() and not path.is_file():
        raise ConfigurationError(f"--log {path} is a device, not a file; give a file")
    if path.resolve() == request.source.resolve():
        raise ConfigurationError(f"--log {path} is the source itself; give another name")


def _print_start(screen: Console, service: AnnotationService, log: Path, address: str) -> None:
    progress = service.snapshot().progress
    lines = (
        f"{progress.n_items:,} items, {progress.n_decided:,} of them labeled. Labels are saved in {log}.",
        f"Open {address}",
        "Ctrl-C stops; the same command continues.",
    )
    console.print_lines(screen, lines)
    # A program that starts this command waits for the address.
    screen.file.flush()


def _print_end(screen: Console, service: AnnotationService, log: Path) -> None:
    n_decided = service.snapshot().progress.n_decided
    console.print_lines(screen, [f"Stopped with {n_decided:,} labels in {log}."])


def _as_tensor(features: NDArray[Any]) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
