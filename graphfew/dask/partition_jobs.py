"""Functions of partitions that each write one file: complete or not at all, and resumable."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from graphfew._utils.atomic_io import atomic_replace
from graphfew.dask.cluster_client import import_distributed, lost_worker_errors
from graphfew.dask.parquet_partitions import Partition, import_parquet
from graphfew.errors import InvalidInputError

RUN_KEY = b"graphfew.run"
Progress = Callable[[int], None]
# From the path of a partition and its value, yields Arrow tables to write.
TablesOf = Callable[[Path, Any], Iterator[Any]]


@dataclasses.dataclass(frozen=True)
class PartitionSummary:
    """What a job over partitions did.

    Attributes:
        files: the files, one per partition.
        n_written: number of files that this run wrote.
        n_skipped: number of files that an earlier run with the same settings had written.
        n_rows: number of rows of all files.

    Example:
        >>> from graphfew.dask import PartitionSummary
        >>> PartitionSummary((), n_written=0, n_skipped=0, n_rows=0).n_rows
        0
    """

    files: tuple[Path, ...]
    n_written: int
    n_skipped: int
    n_rows: int


def run_key(*facts: object) -> str:
    """Return a short digest of the settings of a job, by which finished files are recognized."""
    digest = hashlib.sha256()
    for fact in facts:
        content = fact if isinstance(fact, bytes) else repr(fact).encode()
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:16]


def partition_key(run: str, partition: Partition) -> str:
    """Return the digest of a run and of the state of a partition's file."""
    state = partition.path.stat()
    return run_key(run, partition.path.name, state.st_size, state.st_mtime_ns)


def check_out_folder(out: Path, partitions: Sequence[Partition]) -> None:
    """Raise if files cannot be written to a folder.

    Raises:
        InvalidInputError: it is the folder of the partitions, or a file.
    """
    if out.resolve() == partitions[0].path.parent.resolve():
        raise InvalidInputError(f"{out} is the folder of the items; give another one to write to")
    if out.exists() and not out.is_dir():
        raise InvalidInputError(f"{out} is a file; give a folder, which gets a file per partition")


def open_partitions(
    partitions: Sequence[Partition], out: Path, run: str, *, overwrite: bool
) -> list[Partition]:
    """Return the partitions whose file is still to be written.

    Raises:
        InvalidInputError: a file exists that another run wrote, and `overwrite` is false.
    """
    parquet = import_parquet()
    remaining = []
    for partition in partitions:
        target = out / partition.path.name
        if not target.exists():
            remaining.append(partition)
            continue
        metadata = parquet.read_schema(target).metadata or {}
        if metadata.get(RUN_KEY, b"").decode() == partition_key(run, partition):
            continue
        if not overwrite:
            raise InvalidInputError(
                f"{target} exists, and was written with other settings or from other items; give "
                "another folder, or overwrite=True (--overwrite) to replace it"
            )
        remaining.append(partition)
    return remaining


def write_partitions(
    client: Any,
    tables_of: TablesOf,
    values: Sequence[Any],
    partitions: Sequence[Partition],
    out: Path,
    run: str,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> PartitionSummary:
    """Write a file per partition, on all workers.

    Each worker holds one partition at a time, a batch of rows at once. A file appears under its
    name only when it is complete, and a later run with the same `run` skips it.

    Args:
        client: of Dask.
        tables_of: from the path of a partition and its value to Arrow tables.
        values: what each partition needs, such as the future of a classifier, or of its scores.
        partitions: the files to read.
        out: folder to write to.
        run: digest of all settings, see `run_key`.
        overwrite: whether files of other runs are replaced.
        progress: called with the number of finished partitions.

    Returns:
        What was written.

    Raises:
        InvalidInputError: see `open_partitions` and `check_out_folder`.
        ProcessLostError: workers were lost again and again; finished files are kept.
        WriteError: a file cannot be written.
    """
    distributed = import_distributed()
    check_out_folder(out, partitions)
    remaining = open_partitions(partitions, out, run, overwrite=overwrite)
    n_finished = len(partitions) - len(remaining)
    remove_temporary_files(out, partitions)
    value_of = dict(zip(partitions, values, strict=True))
    futures = [
        client.submit(
            _write_partition,
            tables_of,
            partition.path,
            value_of[partition],
            out / partition.path.name,
            partition_key(run, partition),
            pure=False,
        )
        for partition in remaining
    ]
    advice = f". The finished files in {out} are kept, and the same command continues"
    with lost_worker_errors(f"writing to {out}", advice):
        for future in distributed.as_completed(futures):
            future.result()
            n_finished += 1
            if progress is not None:
                progress(n_finished)
    return PartitionSummary(
        tuple(out / partition.path.name for partition in partitions),
        len(remaining),
        len(partitions) - len(remaining),
        sum(partition.n_rows for partition in partitions),
    )


def remove_temporary_files(out: Path, partitions: Sequence[Partition]) -> None:
    """Remove what workers left behind when they were killed while writing."""
    for partition in partitions:
        for path in out.glob(f".{partition.path.name}.*"):
            path.unlink(missing_ok=True)


def write_tables(tables: Iterator[Any], target: Path, key: str) -> None:
    """Write Arrow tables of one schema to a file, which appears when it is complete.

    Raises:
        WriteError: the file cannot be written.
    """
    parquet = import_parquet()
    with atomic_replace(target) as temporary:
        writer = None
        try:
            for table in tables:
                metadata = {**(table.schema.metadata or {}), RUN_KEY: key.encode()}
                table = table.replace_schema_metadata(metadata)
                if writer is None:
                    writer = parquet.ParquetWriter(temporary, table.schema)
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()
        # After a power failure a name without content would count as finished.
        with temporary.open("rb") as file:
            os.fsync(file.fileno())


def _write_partition(tables_of: TablesOf, path: Path, value: Any, target: Path, key: str) -> None:
    write_tables(tables_of(path, value), target, key)
