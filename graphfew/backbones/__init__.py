"""Backbones: networks that map items to feature vectors, and pretrained encoders from elsewhere.

Start reading at `base.Backbone` and `convolutional.conv4`. Each factory returns a `Backbone` and
registers itself in `BACKBONES`; `wrappers` and `principal_components` transform other encoders.
"""

from graphfew.backbones.backbone_registry import (
    BACKBONES,
    create,
    identity,
    register_backbone,
)
from graphfew.backbones.base import Backbone, encoder_precision
from graphfew.backbones.convolutional import conv4, egnn_conv, gnn_omniglot, relation_conv
from graphfew.backbones.external import (
    FunctionEncoder,
    HuggingFaceEncoder,
    mean_pool,
    pooler_output,
    tokenize,
)
from graphfew.backbones.gradient_maps import gradient_maps
from graphfew.backbones.principal_components import pca
from graphfew.backbones.resnet import resnet12, wrn28_10
from graphfew.backbones.text import bilstm, conv_text
from graphfew.backbones.wrappers import affine_tta, concat, flip_tta

__all__ = [
    "BACKBONES",
    "Backbone",
    "FunctionEncoder",
    "HuggingFaceEncoder",
    "affine_tta",
    "bilstm",
    "concat",
    "conv4",
    "conv_text",
    "create",
    "egnn_conv",
    "encoder_precision",
    "flip_tta",
    "gnn_omniglot",
    "gradient_maps",
    "identity",
    "mean_pool",
    "pca",
    "pooler_output",
    "register_backbone",
    "relation_conv",
    "resnet12",
    "tokenize",
    "wrn28_10",
]
