"""Episodes and the graphs made of them.

Start reading at `episode.Episode`, then `graph.Graph` and `graph.Topology`. `builders` makes topologies
and `dense_batch` views whole tasks as small dense arrays.
"""

from graphfew.core.builders import (
    class_node_graph,
    complete_graph,
    from_edges,
    support_to_query_graph,
)
from graphfew.core.episode import Episode, collate
from graphfew.core.graph import Graph, Topology

__all__ = [
    "Episode",
    "Graph",
    "Topology",
    "class_node_graph",
    "collate",
    "complete_graph",
    "from_edges",
    "support_to_query_graph",
]
