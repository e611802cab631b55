"""A new method in one file: soft nearest neighbors on a complete graph, registered, trained and evaluated.

Run: python examples/new_method.py
"""

import torch
from torch import nn

import graphfew as gf


class SoftNeighbors(nn.Module):
    """Edges: softmax of scaled cosine similarity, without self-loops; the scale is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))

    def forward(self, graph: gf.Graph) -> gf.Graph:
        """Return the graph with edges `[E, 1]` that sum to 1 for each receiver."""
        similarity = graph.topology.apply_pairs(gf.nn.cosine, graph.nodes, self_loop_value=-1e4)
        return graph.replace(edges=graph.topology.softmax(self.scale * similarity))


def embed(episode: gf.Episode) -> gf.Graph:
    """The complete graph of each task, with zero edges."""
    topology = gf.complete_graph(episode.sizes, episode.x.device)
    edges = episode.x.new_zeros(len(topology.receivers), 1)
    return gf.Graph(episode.x, edges, topology, episode)


def soft_neighbors(encoder: nn.Module, *, dim: int, transductive: bool = False) -> gf.GraphMethod:
    """Each query attends to all items of its task by similarity; labeled items vote."""
    layers = [SoftNeighbors()]
    readout = gf.nn.log_class_votes
    return gf.GraphMethod(encoder, embed, layers, readout, transductive=transductive)


def main(steps: int = 60, tasks: int = 100) -> gf.Comparison:
    """Train briefly on glyphs, and compare with prototypes on the same encoder and tasks."""
    if "soft_neighbors" not in gf.METHODS:
        register = gf.register_method(paper="this example", loss=gf.node_loss, transductive=True)
        register(soft_neighbors)
    encoder = gf.backbones.conv4(width=16, seed=0)
    model = gf.create("soft_neighbors", encoder=encoder)
    train_tasks = gf.Tasks(gf.data.glyphs(split="train"), way=5, shot=1, query=3, seed=1)
    for step in gf.train(model, train_tasks, loss=gf.node_loss, batch=4, steps=steps):
        if step.index % 20 == 19:
            print(f"step {step.index + 1}: loss {step.loss:.2f}, accuracy {step.accuracy:.2f}")
    unseen = gf.Tasks(gf.data.glyphs(split="test"), way=5, shot=1, query=5, seed=2)
    return gf.compare(model, gf.create("prototypical", encoder=encoder), unseen, n=tasks)


if __name__ == "__main__":
    result = main()
    print(f"soft neighbors {result.a}\nprototypes     {result.b}\ndifference     {result}")
