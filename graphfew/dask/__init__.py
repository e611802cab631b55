"""Labels, predictions and features on more than one machine, by Dask (extra `dask`).

Start with `folder_labeling.label_parquet` and `partition_prediction.predict_parquet`. Dask is
imported on first use, so that this package can be imported without it.
"""

from graphfew.dask.block_prediction import predict_array, predict_blocks
from graphfew.dask.cluster_client import dask_client
from graphfew.dask.folder_labeling import FolderOptions, label_parquet
from graphfew.dask.graph_shards import (
    GraphShards,
    cosine_power_shards,
    knn_gaussian_shards,
    self_tuning_shards,
)
from graphfew.dask.neighbor_shards import (
    CosineIndex,
    ExactIndex,
    FeatureShards,
    knn_shards,
    shard_features,
)
from graphfew.dask.parquet_partitions import ParquetColumns, find_columns, list_partitions
from graphfew.dask.partition_encoding import encode_parquet
from graphfew.dask.partition_jobs import PartitionSummary
from graphfew.dask.partition_prediction import predict_parquet
from graphfew.dask.shard_labeling import propagate_shards
from graphfew.dask.shard_labels import ShardLabels, one_hot_labels
from graphfew.dask.shard_poisson import poisson_shards
from graphfew.dask.shard_solvers import harmonic_shards, spread_shards

__all__ = [
    "CosineIndex",
    "ExactIndex",
    "FeatureShards",
    "FolderOptions",
    "GraphShards",
    "ParquetColumns",
    "PartitionSummary",
    "ShardLabels",
    "cosine_power_shards",
    "dask_client",
    "encode_parquet",
    "find_columns",
    "harmonic_shards",
    "knn_gaussian_shards",
    "knn_shards",
    "label_parquet",
    "list_partitions",
    "one_hot_labels",
    "poisson_shards",
    "predict_array",
    "predict_blocks",
    "predict_parquet",
    "propagate_shards",
    "self_tuning_shards",
    "shard_features",
    "spread_shards",
]
