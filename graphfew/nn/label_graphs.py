"""Initial graphs of the methods that spread labels over all items of a task."""

from __future__ import annotations

from graphfew.core.builders import complete_graph
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph


def complete_item_graph(episode: Episode) -> Graph:
    """Connect all items of each task, with edges of 0 for a layer to fill.

    Args:
        episode: an encoded episode, `x [N, F]`.

    Returns:
        A graph with nodes `[N, F]` and edges `[E, 1]`, self-loops included.
    """
    topology = complete_graph(episode.sizes, episode.x.device)
    edges = episode.x.new_zeros(len(topology.receivers), 1)
    return Graph(episode.x, edges, topology, episode)
