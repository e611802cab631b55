"""Benchmarks: specs, their runs, and the records that they leave."""

from graphfew.benchmark.dispatch import AnyCell, all_cells
from graphfew.benchmark.experiments import Cell, cells
from graphfew.benchmark.loader import AnySpec, read_spec
from graphfew.benchmark.protocol import Protocol, differences, marks, moving, of_figure, of_record
from graphfew.benchmark.published import Figure, read_figures
from graphfew.benchmark.records import Fault, Record, append, read
from graphfew.benchmark.run import Options, Plan, Screen, Stopped, plan, run
from graphfew.benchmark.semi_supervised import PileCell, PileSpec
from graphfew.benchmark.spec import Spec
from graphfew.benchmark.statistics import (
    Averaged,
    Pair,
    Ranking,
    averaged,
    holm,
    not_below_best,
    pairwise,
    rank,
)
from graphfew.benchmark.status import Standing, survey

__all__ = [
    "AnyCell",
    "AnySpec",
    "Averaged",
    "Cell",
    "Fault",
    "Figure",
    "Options",
    "Pair",
    "PileCell",
    "PileSpec",
    "Plan",
    "Protocol",
    "Ranking",
    "Record",
    "Screen",
    "Spec",
    "Standing",
    "Stopped",
    "all_cells",
    "append",
    "averaged",
    "cells",
    "differences",
    "holm",
    "marks",
    "moving",
    "not_below_best",
    "of_figure",
    "of_record",
    "pairwise",
    "plan",
    "rank",
    "read",
    "read_figures",
    "read_spec",
    "run",
    "survey",
]
