"""TODO module docstring."""

from __future__ import annotations

from graphfew.core.builders import complete_graph
from graphfew.core.episode import Episode
from graphfew.core.graph import Graph


def labeled_graph(episode: Episode) -> Graph:
    """The complete graph of each task, edges 0."""
    topology = complete_graph(episode.sizes, episode.x.device)
    return Graph(episode.x, episode.x.new_zeros(len(topology.receivers), 1), topology, episode)
