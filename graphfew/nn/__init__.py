"""Modules that methods are built from: `GraphMethod`, layers, readouts and pairwise MLPs.

Start reading at `method.GraphMethod`; `prototypes`, `soft_assignment` and `label_graphs` hold
what several methods share.
"""

from graphfew.nn.batch_norm_rules import (
    running_moments,
    support_moments,
    transductive_moments,
)
from graphfew.nn.classifier_starts import (
    imprinted_rows,
    own_rows,
    prototype_rows,
    zero_rows,
)
from graphfew.nn.eval_mode import check_running_statistics, eval_mode
from graphfew.nn.fused_pair_mlp import fused_kernels
from graphfew.nn.image_distances import complete_distance_graph
from graphfew.nn.layers import PyGConv, cosine, squared_euclidean
from graphfew.nn.method import GraphMethod, MethodOutput
from graphfew.nn.pair_mlp import activation_checkpointing
from graphfew.nn.prototypes import ScaledMetric, class_mean_graph, support_query_graph
from graphfew.nn.readout import (
    class_node_logits,
    class_votes,
    log_class_votes,
    nearest_support_logits,
    node_logits,
)
from graphfew.nn.step_sizes import (
    absolute_unit,
    fixed_rate,
    learned_rate,
    rate_per_feature,
    rate_per_step,
    rate_per_step_and_feature,
    relative_unit,
)
from graphfew.ops.distortion import distortion_table
from graphfew.ops.warp_distance import warp_table

__all__ = [
    "GraphMethod",
    "MethodOutput",
    "PyGConv",
    "ScaledMetric",
    "absolute_unit",
    "activation_checkpointing",
    "check_running_statistics",
    "class_mean_graph",
    "class_node_logits",
    "class_votes",
    "complete_distance_graph",
    "cosine",
    "distortion_table",
    "eval_mode",
    "fixed_rate",
    "fused_kernels",
    "imprinted_rows",
    "learned_rate",
    "log_class_votes",
    "nearest_support_logits",
    "node_logits",
    "own_rows",
    "prototype_rows",
    "rate_per_feature",
    "rate_per_step",
    "rate_per_step_and_feature",
    "relative_unit",
    "running_moments",
    "squared_euclidean",
    "support_moments",
    "support_query_graph",
    "transductive_moments",
    "warp_table",
    "zero_rows",
]
