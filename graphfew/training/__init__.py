"""The training loop, its schedules, pretraining on classes, and several processes.

Start reading at `loop.train`.
"""

from graphfew.errors import ProcessLostError
from graphfew.training.distributed import ProcessGroup
from graphfew.training.fabric import launch
from graphfew.training.loop import (
    TrainStep,
    adam,
    adamw,
    cosine_decay,
    follow,
    linear_warmup,
    sgd,
    step_decay,
    train,
)
from graphfew.training.pretrain import ClassificationBatches, Classifier, class_loss

__all__ = [
    "ClassificationBatches",
    "Classifier",
    "ProcessGroup",
    "ProcessLostError",
    "TrainStep",
    "adam",
    "adamw",
    "class_loss",
    "cosine_decay",
    "follow",
    "launch",
    "linear_warmup",
    "sgd",
    "step_decay",
    "train",
]
