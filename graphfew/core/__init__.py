"""Episodes and the graphs made from them.

Start reading at `episode.Episode`, then `topology.Topology` and `graph.Graph`. `builders` makes
topologies; `dense_batch` views whole tasks as dense arrays, `support_batch` their supports and
queries.
"""

from graphfew.core.builders import (
    class_node_graph,
    complete_graph,
    from_edges,
    support_to_query_graph,
)
from graphfew.core.episode import Episode, collate
from graphfew.core.graph import Graph
from graphfew.core.topology import Topology

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
