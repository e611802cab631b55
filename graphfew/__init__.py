"""graphfew: few-shot learning as a graph problem."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from graphfew import affinity, backbones, data, neighbours, shipped, sparse
from graphfew.audit import ContractError, audit, evaluating
from graphfew.checkpoint import load, save
from graphfew.data import Dataset, Tasks
from graphfew.distributed import launch
from graphfew.encoders import Encoder, HuggingFace, mean_of_tokens, pooled, tokenise
from graphfew.episode import Episode, collate
from graphfew.evaluate import Comparison, Result, calibration_error, compare, evaluate, paired, predict, t_interval
from graphfew.exchange import from_pyg, to_batch
from graphfew.export import to_exported, to_onnx
from graphfew.fused import fusing
from graphfew.graph import Graph, Topology
from graphfew.layers import Convolution, cosine, squared_euclidean
from graphfew.losses import (
    dpgn_loss,
    edge_loss,
    joint_loss,
    known_nodes_loss,
    node_loss,
    pair_loss,
    relation_loss,
)
from graphfew.methods.attention_attractor import joint_logits
from graphfew.model import GraphMethod, Output
from graphfew.neighbours import knn
from graphfew.pair_net import recomputing
from graphfew.pretrain import Classifier, Shuffled, class_loss
from graphfew.readout import log_vote, vote
from graphfew.registry import METHODS, Method, create, register
from graphfew.seeding import seeded
from graphfew.topologies import bipartite, complete, stars, supports_to_queries
from graphfew.train import Step, adam, adamw, cosine_decay, follow, halve_every, sgd, train, warm_up
from graphfew.workers import WorkerLost, Workers

if TYPE_CHECKING:
    from graphfew.confusion_matrix import confusion
    from graphfew.estimator import FewShotClassifier
    from graphfew.nets import from_networkx, to_networkx
    from graphfew.plot import before_and_after, draw, layer_by_layer
    from graphfew.task_plane import projection
    from graphfew.training_curves import curves
else:
    # scikit-learn, networkx and matplotlib take longer to import than all the rest; whoever asks for these names waits.
    # No module may have one of them for its own name: imported by itself it would stand in its place.
    _LATER = {
        "FewShotClassifier": "graphfew.estimator", "before_and_after": "graphfew.plot",
        "confusion": "graphfew.confusion_matrix", "curves": "graphfew.training_curves", "draw": "graphfew.plot",
        "from_networkx": "graphfew.nets", "layer_by_layer": "graphfew.plot", "projection": "graphfew.task_plane",
        "to_networkx": "graphfew.nets",
    }

    def __getattr__(name):
        if name not in _LATER:
            raise AttributeError(f"module 'graphfew' has no attribute {name!r}")
        globals()[name] = value = getattr(import_module(_LATER[name]), name)
        return value

    def __dir__():
        return sorted({*globals(), *_LATER})

__version__ = version("graphfew")

__all__ = [
    "METHODS", "Classifier", "Comparison", "ContractError", "Convolution", "Dataset", "Encoder", "Episode",
    "FewShotClassifier", "Graph", "GraphMethod", "HuggingFace", "Method", "Output", "Result", "Shuffled", "Step",
    "Tasks", "Topology", "WorkerLost", "Workers", "adam", "adamw", "affinity", "audit", "backbones",
    "before_and_after", "bipartite", "calibration_error", "class_loss", "collate", "compare", "complete",
    "confusion", "cosine", "cosine_decay", "create", "curves", "data", "dpgn_loss", "draw", "edge_loss", "evaluate",
    "evaluating", "follow", "from_networkx", "from_pyg", "fusing", "halve_every", "joint_logits", "joint_loss",
    "knn", "known_nodes_loss", "launch", "layer_by_layer", "load", "log_vote", "mean_of_tokens", "neighbours",
    "node_loss", "pair_loss", "paired", "pooled", "predict", "projection", "recomputing", "register",
    "relation_loss", "save", "seeded", "sgd", "shipped", "sparse", "squared_euclidean", "stars",
    "supports_to_queries", "t_interval", "to_batch", "to_exported", "to_networkx", "to_onnx", "tokenise", "train",
    "vote", "warm_up",
]
