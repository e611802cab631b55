"""The server of an annotation: a socket on this computer, background work, and an orderly end."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from collections.abc import Callable
from functools import cached_property
from typing import Any

import uvicorn
from numpy.typing import NDArray

from graphfew.errors import ConfigurationError
from graphfew.labeling.annotation.access import new_access
from graphfew.labeling.annotation.app import create_app
from graphfew.labeling.annotation.background import BackgroundTasks
from graphfew.labeling.annotation.map_layout import layout_items
from graphfew.labeling.annotation.refinement import refine_model, refine_queue
from graphfew.labeling.annotation.service import AnnotationService

HOST = "127.0.0.1"
# How long Ctrl-C waits for background work.
STOP_SECONDS = 2.0


@dataclasses.dataclass(frozen=True, eq=False)
class ItemMap:
    """Positions of the items, computed when they are first needed.

    Attributes:
        service: has the items and their graph.
    """

    service: AnnotationService

    @cached_property
    def positions(self) -> NDArray[Any]:
        """`[n, 2]` positions in `[0, 1]`."""
        graph = self.service.item_graph
        return layout_items(graph.features.numpy(), graph.topology, graph.weights)

    def prepare(self) -> None:
        """Compute the positions, a task of `BackgroundTasks`."""
        # Only the first call computes anything.
        _ = self.positions


def bind(port: int) -> socket.socket:
    """Open a socket on 127.0.0.1.

    Args:
        port: the port; 0 for any free one.

    Returns:
        The socket.

    Raises:
        ConfigurationError: the port is in use.
    """
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Otherwise the port of a killed server stays blocked for a minute.
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((HOST, port))
        # At once: two sockets can be bound to a port, if neither listens.
        opened.listen()
    except OSError as error:
        opened.close()
        raise ConfigurationError(
            f"port {port} cannot be used ({error.strerror}); give another --port, or 0 for any free "
            "one"
        ) from error
    return opened


def serve(
    service: AnnotationService,
    opened: socket.socket,
    title: str,
    on_ready: Callable[[str], None],
    on_error: Callable[[Exception], None],
) -> bool:
    """Serve the pages until Ctrl-C.

    Args:
        service: the annotation.
        opened: from `bind`.
        title: name of the source.
        on_ready: receives the address to open.
        on_error: receives errors of background work.

    Returns:
        Whether background work is still running.
    """
    access = new_access(opened.getsockname()[1])
    item_map = ItemMap(service)
    tasks = BackgroundTasks(
        # Suggestions first: the next page needs them.
        [refine_queue(service), refine_model(service), item_map.prepare],
        on_error,
    )
    service.on_change = tasks.notify
    tasks.notify()
    app = create_app(service, access, title, lambda: item_map.positions)
    # Access logs would contain the token.
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    on_ready(access.address)
    try:
        # uvicorn repeats the signal that stopped it.
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[opened])
    finally:
        has_ended = tasks.stop(STOP_SECONDS)
        opened.close()
    return not has_ended
