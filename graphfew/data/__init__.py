"""Data sets held in memory, and the tasks drawn from them."""

from graphfew.data import augment
from graphfew.data.augment import Augment, Augmented
from graphfew.data.catalogue import catalogue, load
from graphfew.data.cifar import cifar_fs, fc100
from graphfew.data.class_folders import class_folders
from graphfew.data.cub import cub
from graphfew.data.dataset import Dataset, arrays
from graphfew.data.digits import digits
from graphfew.data.embed import embed
from graphfew.data.features import cifar_fs_features, clinc150, clinc150_out_of_scope
from graphfew.data.fewrel import fewrel
from graphfew.data.glyphs import glyphs
from graphfew.data.imagenet import mini_imagenet, tiered_imagenet
from graphfew.data.omniglot import omniglot
from graphfew.data.queries import (
    Queries,
    balanced,
    dirichlet,
    mixture,
    multinomial,
    one_per_class,
    parse,
    single,
    single_class,
    varied,
)
from graphfew.data.tasks import Draw, Tasks

__all__ = [
    "Augment", "Augmented", "Dataset", "Draw", "Queries", "Tasks", "arrays", "augment", "balanced", "catalogue",
    "cifar_fs", "cifar_fs_features", "class_folders", "clinc150", "clinc150_out_of_scope", "cub", "digits",
    "dirichlet", "embed", "fc100", "fewrel", "glyphs", "load", "mini_imagenet", "mixture", "multinomial",
    "omniglot", "one_per_class", "parse", "single", "single_class", "tiered_imagenet", "varied",
]
