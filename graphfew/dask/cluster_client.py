"""Connections to Dask clusters, and one clear error if a worker is lost for good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from graphfew.errors import ConfigurationError, MissingDependencyError, ProcessLostError

CONNECT_SECONDS = 10


def import_distributed() -> Any:
    """Import `distributed`, or raise an error that names the extra.

    Raises:
        MissingDependencyError: Dask is not installed.
    """
    try:
        import distributed
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            'Dask is not installed; pip install "graphfew[dask]", or label without --scheduler'
        ) from error
    return distributed


@contextmanager
def dask_client(
    address: str | None = None, *, n_workers: int | None = None, processes: bool = True
) -> Iterator[Any]:
    """Connect to a Dask scheduler, or start workers on this machine.

    Args:
        address: of a scheduler, such as `tcp://10.0.0.1:8786`; None starts a `LocalCluster`, which
            ends with the block.
        n_workers: number of local workers with one thread each; None takes one per core.
        processes: whether local workers are processes; threads suit tests.

    Yields:
        A `distributed.Client`.

    Raises:
        MissingDependencyError: Dask is not installed.
        ConfigurationError: no connection to a scheduler at the address, or it is given with `n_workers`.

    Example:
        >>> from graphfew.dask import dask_client
        >>> with dask_client(n_workers=1, processes=False) as client:  # doctest: +SKIP
        ...     client.submit(sum, [1, 2]).result()
        3
    """
    distributed = import_distributed()
    if address is not None:
        if n_workers is not None:
            raise ConfigurationError(
                f"n_workers is {n_workers}, but the scheduler {address} has its own workers; give "
                "one of the two"
            )
        try:
            client = distributed.Client(address, timeout=CONNECT_SECONDS)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"no Dask scheduler answers at {address!r}; start one with `dask scheduler`, and "
                "give the address that it prints, such as tcp://10.0.0.1:8786"
            ) from error
        with client:
            yield client
        return
    with (
        distributed.LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=processes,
            dashboard_address=":0",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@contextmanager
def lost_worker_errors(activity: str, advice: str = "") -> Iterator[None]:
    """Convert Dask's errors about lost workers to one line.

    Args:
        activity: what the block does, such as "predicting".
        advice: a sentence that follows.

    Raises:
        ProcessLostError: workers were lost, and the work could not continue on others.
    """
    distributed = import_distributed()
    lost = (distributed.KilledWorker, distributed.scheduler.NoValidWorkerError)
    try:
        yield
    except (*lost, distributed.client.FutureCancelledError) as error:
        raise ProcessLostError(
            f"workers were lost while {activity}, and the work could not continue on others "
            f"({type(error).__name__}); give the workers more memory, or make partitions "
            f"smaller{advice}"
        ) from error


def scatter_to_all(client: Any, value: Any) -> Any:
    """Copy a value to every worker, once, and return its future."""
    # Without a hash two equal values would share a key, and end together.
    return client.scatter(value, broadcast=True, hash=False)


def gather_all(client: Any, futures: Sequence[Any]) -> list[Any]:
    """Return the results of futures; the first error is raised."""
    results: list[Any] = client.gather(list(futures))
    return results
