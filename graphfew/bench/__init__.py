"""Benchmarks: specs, their runs, and the records that they leave."""

from graphfew.bench.cells import Cell, cells
from graphfew.bench.kinds import AnyCell, all_cells
from graphfew.bench.pile import PileCell, PileSpec
from graphfew.bench.protocol import Protocol, differences, marks, moving, of_figure, of_record
from graphfew.bench.published import Figure, read_figures
from graphfew.bench.reading import AnySpec, read_spec
from graphfew.bench.record import Fault, Record, append, read
from graphfew.bench.run import Options, Plan, Screen, Stopped, plan, run
from graphfew.bench.spec import Spec
from graphfew.bench.statistics import Averaged, Pair, Ranking, averaged, holm, not_below_best, pairwise, rank
from graphfew.bench.survey import Standing, survey

__all__ = [
    "AnyCell", "AnySpec", "Averaged", "Cell", "Fault", "Figure", "Options", "Pair", "PileCell", "PileSpec", "Plan",
    "Protocol", "Ranking", "Record", "Screen", "Spec", "Standing", "Stopped", "all_cells", "append", "averaged",
    "cells", "differences", "holm", "marks", "moving", "not_below_best", "of_figure", "of_record", "pairwise",
    "plan", "rank", "read", "read_figures", "read_spec", "run", "survey",
]
