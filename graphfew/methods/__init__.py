"""One file per paper, each with a factory that returns a `GraphMethod`."""

from graphfew.methods.egnn import egnn
from graphfew.methods.gnn import gnn
from graphfew.methods.label_propagation import label_propagation, label_spreading
from graphfew.methods.nearest_neighbour import nearest_neighbour
from graphfew.methods.prototypical import prototypical
from graphfew.methods.siamese import siamese
from graphfew.methods.simpleshot import simpleshot

__all__ = [
    "egnn", "gnn", "label_propagation", "label_spreading", "nearest_neighbour", "prototypical", "siamese", "simpleshot",
]
