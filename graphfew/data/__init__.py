"""Data sets in memory, and the tasks drawn from them: start with `Dataset` and `Tasks`.

`datasets/` has one loader per data set, `io/` reads file formats; `query_sampling` and `augment`
vary the tasks.
"""

from graphfew._utils.data_warning import DataWarning
from graphfew.data import augment
from graphfew.data.augment import Augmentation
from graphfew.data.augmented_tasks import AugmentedTasks
from graphfew.data.cactus import CactusTasks
from graphfew.data.catalog import DATASETS, SPLITS, load
from graphfew.data.chaml import ChamlTasks
from graphfew.data.clustering import kmeans_partitions
from graphfew.data.curriculum import Curriculum, prototype_difficulty
from graphfew.data.dataset import Dataset, arrays
from graphfew.data.datasets.cifar import cifar_fs, fc100
from graphfew.data.datasets.class_folders import class_folders
from graphfew.data.datasets.cub import cub
from graphfew.data.datasets.digits import digits
from graphfew.data.datasets.fewrel import fewrel
from graphfew.data.datasets.glyphs import glyphs
from graphfew.data.datasets.imagenet import mini_imagenet, tiered_imagenet
from graphfew.data.datasets.omniglot import omniglot
from graphfew.data.datasets.omniglot_runs import omniglot_runs
from graphfew.data.datasets.precomputed_features import (
    cifar_fs_features,
    clinc150,
    clinc150_out_of_scope,
)
from graphfew.data.drawer_runs import DrawerRuns
from graphfew.data.draws import TaskDraw
from graphfew.data.encode import encode
from graphfew.data.from_huggingface import from_huggingface
from graphfew.data.from_torch import from_torch
from graphfew.data.int_range import IntRange
from graphfew.data.query_protocols import QuerySampler
from graphfew.data.query_sampling import (
    balanced,
    dirichlet,
    effective_classes,
    mixture,
    multinomial,
    one_per_class,
    single,
    single_class,
    varied,
)
from graphfew.data.query_text import parse_queries
from graphfew.data.splits import Splits
from graphfew.data.tasks import Tasks
from graphfew.data.umtra import UmtraTasks

__all__ = [
    "DATASETS",
    "SPLITS",
    "Augmentation",
    "AugmentedTasks",
    "CactusTasks",
    "ChamlTasks",
    "Curriculum",
    "DataWarning",
    "Dataset",
    "DrawerRuns",
    "IntRange",
    "QuerySampler",
    "Splits",
    "TaskDraw",
    "Tasks",
    "UmtraTasks",
    "arrays",
    "augment",
    "balanced",
    "cifar_fs",
    "cifar_fs_features",
    "class_folders",
    "clinc150",
    "clinc150_out_of_scope",
    "cub",
    "digits",
    "dirichlet",
    "effective_classes",
    "encode",
    "fc100",
    "fewrel",
    "from_huggingface",
    "from_torch",
    "glyphs",
    "kmeans_partitions",
    "load",
    "mini_imagenet",
    "mixture",
    "multinomial",
    "omniglot",
    "omniglot_runs",
    "one_per_class",
    "parse_queries",
    "prototype_difficulty",
    "single",
    "single_class",
    "tiered_imagenet",
    "varied",
]
