"""A new method in one file: soft nearest neighbors on a complete graph, registered, trained and evaluated.

Run: python examples/new_method.py
"""

import torch
from torch import nn

import graphfew as gf


class SoftNeighbors(nn.Module):
    """Edges that are the softmax of scaled cosine similarity, self-loops masked; the scale is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))

    def forward(self, graph: gf.Graph) -> gf.Graph:
        """The graph with edges `[E, 1]`, each receiver's summing to 1."""
        similarity = graph.topology.apply_pairs(gf.nn.cosine, graph.nodes, self_loop_value=-1e4)
        return graph.replace(edges=graph.topology.softmax(self.scale * similarity))


@gf.register_method(paper="this example", loss=gf.node_loss, transductive=True)
def soft_neighbors(encoder: nn.Module, *, dim: int, transductive: bool = False) -> gf.GraphMethod:
    """Every query asks all items of its task, in proportion to their similarity; labeled ones answer."""

    def embed(episode: gf.Episode) -> gf.Graph:
        topology = gf.complete_graph(episode.sizes, episode.x.device)
        return gf.Graph(
            episode.x, episode.x.new_zeros(len(topology.receivers), 1), topology, episode
        )

    return gf.GraphMethod(
        encoder, embed, [SoftNeighbors()], gf.nn.log_class_votes, transductive=transductive
    )


def main(steps: int = 60, tasks: int = 100) -> gf.Comparison:
    """Train on glyphs for a moment, and compare with prototypes on the same encoder and tasks."""
    encoder = gf.backbones.conv4(width=16, seed=0)
    model = gf.create("soft_neighbors", encoder=encoder)
    source = gf.Tasks(gf.data.glyphs(split="train"), way=5, shot=1, query=3, seed=1)
    for step in gf.train(model, source, loss=gf.node_loss, batch=4, steps=steps):
        if step.index % 20 == 19:
            print(f"step {step.index + 1}: loss {step.loss:.2f}, accuracy {step.accuracy:.2f}")
    unseen = gf.Tasks(gf.data.glyphs(split="test"), way=5, shot=1, query=5, seed=2)
    return gf.compare(model, gf.create("prototypical", encoder=encoder), unseen, n=tasks)


if __name__ == "__main__":
    result = main()
    print(f"soft neighbors {result.a}\nprototypes      {result.b}\ndifference      {result}")
