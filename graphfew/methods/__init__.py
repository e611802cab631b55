"""One file per paper, each with a factory that returns a `GraphMethod`."""

from graphfew.methods.egnn import egnn
from graphfew.methods.gnn import gnn
from graphfew.methods.nearest_neighbour import nearest_neighbour
from graphfew.methods.prototypical import prototypical

__all__ = ["egnn", "gnn", "nearest_neighbour", "prototypical"]
