"""Training loop, pretraining by classification, weight averaging and multi-process training.

Start reading at `loop.train`; optimizers and learning-rate schedulers are PyTorch's own.
"""

from graphfew.training.averaging import ema
from graphfew.training.clipping import clip_gradients
from graphfew.training.distributed import ProcessGroup
from graphfew.training.fabric import launch
from graphfew.training.inner_training import InnerTraining
from graphfew.training.loop import TrainStep, train
from graphfew.training.outer_rules import foml, leap, reptile
from graphfew.training.precision import supports_bfloat16
from graphfew.training.pretrain import ClassificationBatches, Classifier, class_loss
from graphfew.training.update_rules import BatchUpdate, query_loss_update

__all__ = [
    "BatchUpdate",
    "ClassificationBatches",
    "Classifier",
    "InnerTraining",
    "ProcessGroup",
    "TrainStep",
    "class_loss",
    "clip_gradients",
    "ema",
    "foml",
    "launch",
    "leap",
    "query_loss_update",
    "reptile",
    "supports_bfloat16",
    "train",
]
