"""Data sets held in memory, and the tasks drawn from them."""

from graphfew.data import augment
from graphfew.data.augment import Augment, Augmented
from graphfew.data.catalogue import catalogue, load
from graphfew.data.dataset import Dataset, arrays
from graphfew.data.digits import digits
from graphfew.data.embed import embed
from graphfew.data.fewrel import fewrel
from graphfew.data.glyphs import glyphs
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
    "Augment", "Augmented", "Dataset", "Draw", "Queries", "Tasks", "arrays", "augment",
    "balanced", "catalogue", "digits", "dirichlet", "embed",
    "fewrel", "glyphs", "load", "mixture", "multinomial", "omniglot", "one_per_class", "parse", "single",
    "single_class", "varied",
]
