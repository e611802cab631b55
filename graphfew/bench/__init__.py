"""Benchmarks: specs, their runs, and the records that they leave."""

from graphfew.bench.record import Fault, Record, append, read

__all__ = ["Fault", "Record", "append", "read"]
