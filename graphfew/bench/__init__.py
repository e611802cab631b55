"""Benchmarks: specs, their runs, and the records that they leave."""

from graphfew.bench.cells import Cell, cells
from graphfew.bench.record import Fault, Record, append, read
from graphfew.bench.run import Options, Plan, Screen, Stopped, plan, run
from graphfew.bench.spec import Spec, read_spec
from graphfew.bench.survey import Standing, survey

__all__ = [
    "Cell", "Fault", "Options", "Plan", "Record", "Screen", "Spec", "Standing", "Stopped", "append", "cells", "plan",
    "read", "read_spec", "run", "survey",
]
