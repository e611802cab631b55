"""Modules that methods are built from: `GraphMethod`, layers, readouts and pair MLPs.

Start reading at `method.GraphMethod`; `prototypes` and `soft_assignment` hold what several methods share.
"""

from graphfew.nn.eval_mode import eval_mode
from graphfew.nn.fused_pair_mlp import fused_kernels
from graphfew.nn.layers import PyGConv, cosine, squared_euclidean
from graphfew.nn.method import GraphMethod, MethodOutput
from graphfew.nn.pair_mlp import activation_checkpointing
from graphfew.nn.readout import class_votes, log_class_votes

__all__ = [
    "GraphMethod",
    "MethodOutput",
    "PyGConv",
    "activation_checkpointing",
    "class_votes",
    "cosine",
    "eval_mode",
    "fused_kernels",
    "log_class_votes",
    "squared_euclidean",
]
