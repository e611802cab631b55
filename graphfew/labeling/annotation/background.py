"""Slow computations in a thread of low priority, always with the newest labels."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

# Added to the niceness of the thread, so that pages answer first.
NICENESS = 10


class BackgroundTasks:
    """A thread that runs tasks again whenever there is something new.

    Args:
        tasks: functions without arguments that take a snapshot, compute, and store their result.
            One that raises is reported and not repeated until there is something new.
        on_error: receives an error of a task.

    Example:
        >>> done = threading.Event()
        >>> tasks = BackgroundTasks([done.set], print)
        >>> tasks.notify()
        >>> done.wait(10)
        True
        >>> tasks.stop(10.0)
        True
    """

    def __init__(
        self, tasks: Sequence[Callable[[], None]], on_error: Callable[[Exception], None]
    ) -> None:
        self._tasks = tasks
        self._on_error = on_error
        self._changed = threading.Event()
        self._stopped = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        # A daemon, so that Ctrl-C need not wait for a long computation; it writes no files.
        self._thread = threading.Thread(target=self._run, name="annotation", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """Run the tasks as soon as possible."""
        self._idle.clear()
        self._changed.set()

    def wait(self, timeout: float) -> bool:
        """Wait until there is nothing to do, and return whether that is so."""
        return self._idle.wait(timeout)

    def stop(self, timeout: float = 0.0) -> bool:
        """End the thread after its current task.

        Args:
            timeout: seconds to wait for that.

        Returns:
            Whether it has ended.
        """
        self._stopped.set()
        self._changed.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        _lower_priority()
        while True:
            self._changed.wait()
            if self._stopped.is_set():
                return
            self._changed.clear()
            for task in self._tasks:
                if self._stopped.is_set():
                    return
                try:
                    task()
                except Exception as error:  # the page must go on without the result
                    self._on_error(error)
            if not self._changed.is_set():
                self._idle.set()
                # `notify` may have run between the two lines above.
                if self._changed.is_set():
                    self._idle.clear()


def _lower_priority() -> None:
    try:
        # On Linux, threads have priorities of their own; elsewhere this is the process's.
        if os.uname().sysname == "Linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    except (AttributeError, OSError):
        return
