"""graphfew: few-shot learning as a graph problem."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from graphfew import (
    backbones,
    data,
    errors,
    evaluation,
    methods,
    nn,
    propagation,
    training,
)
from graphfew.core.builders import (
    class_node_graph,
    complete_graph,
    from_edges,
    support_to_query_graph,
)
from graphfew.core.episode import Episode, collate
from graphfew.core.graph import Graph
from graphfew.core.topology import Topology
from graphfew.data import Dataset, Tasks
from graphfew.evaluation.accuracy import Result, evaluate
from graphfew.evaluation.comparison import Comparison, compare, compare_results
from graphfew.evaluation.prediction import predict
from graphfew.methods.losses import (
    edge_loss,
    edge_node_loss,
    node_loss,
)
from graphfew.methods.registry import METHODS, MethodSpec, create, register_method
from graphfew.nn.layers import squared_euclidean
from graphfew.nn.method import GraphMethod, MethodOutput
from graphfew.serialization import pretrained
from graphfew.serialization.checkpoint import load, save
from graphfew.serialization.hub_upload import push_to_hub
from graphfew.training.loop import TrainStep, train
from graphfew.training.pretrain import class_loss

if TYPE_CHECKING:
    from graphfew import convert, encoders, export, labeling, loggers, visualization
    from graphfew.estimators.classifier import FewShotClassifier
else:
    # scikit-learn, networkx and matplotlib take longer to import than everything else,
    # so these names are imported on first use.
    _LAZY = {
        "FewShotClassifier": "graphfew.estimators.classifier",
        "convert": None,
        "dask": None,
        "encoders": None,
        "estimators": None,
        "export": None,
        "labeling": None,
        "loggers": None,
        "visualization": None,
    }

    def __getattr__(name):
        if name not in _LAZY:
            raise AttributeError(f"module 'graphfew' has no attribute {name!r}")
        module = import_module(_LAZY[name] or f"graphfew.{name}")
        globals()[name] = value = module if _LAZY[name] is None else getattr(module, name)
        return value

    def __dir__():
        return sorted({*globals(), *_LAZY})


__version__ = version("graphfew")

__all__ = [
    "METHODS",
    "Comparison",
    "Dataset",
    "Episode",
    "FewShotClassifier",
    "Graph",
    "GraphMethod",
    "MethodOutput",
    "MethodSpec",
    "Result",
    "Tasks",
    "Topology",
    "TrainStep",
    "backbones",
    "class_loss",
    "class_node_graph",
    "collate",
    "compare",
    "compare_results",
    "complete_graph",
    "convert",
    "create",
    "data",
    "edge_loss",
    "edge_node_loss",
    "encoders",
    "errors",
    "evaluate",
    "evaluation",
    "export",
    "from_edges",
    "labeling",
    "load",
    "loggers",
    "methods",
    "nn",
    "node_loss",
    "predict",
    "pretrained",
    "propagation",
    "push_to_hub",
    "register_method",
    "save",
    "squared_euclidean",
    "support_to_query_graph",
    "train",
    "training",
    "visualization",
]
