"""A convolution of torch-geometric as a layer of a few-shot method.

A method is `embed`, graph layers and a readout. Here the layers are: edges from how alike two items are, a `GCNConv`
that sees them as edge weights (`gf.Convolution` makes any torch-geometric convolution a layer), and edges again, from
the nodes that it has rewritten; the readout lets labeled items vote along these. The convolution begins as the mean
over alike items, with an identity for its weight, and is trained from there.

It prints accuracies on the same tasks of unseen characters: of prototypes, of the new method before and after its
training, and of the trained one answering each query alone, so that the convolution sees the labeled items only; each
with its paired difference from prototypes. All stand on one encoder, which was trained for the prototypes.

Run: python examples/pyg_layer.py (glyphs, which the library draws)
"""

import torch
from torch import nn
from torch_geometric.nn import GCNConv

import graphfew as gf


class Alike(nn.Module):
    """Edges that are the softmax of scaled cosine similarity over what a node receives; the scale is learned.

    `loops` is the similarity of a node with itself: 1 lets it hear itself, a large negative number does not.
    """

    def __init__(self, loops: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0))
        self.loops = loops

    def forward(self, graph: gf.Graph) -> gf.Graph:
        """The graph with edges `[E, 1]`, each receiver's summing to 1."""
        similarity = graph.topology.apply_pairs(
            gf.nn.cosine, graph.nodes, self_loop_value=self.loops
        )
        return graph.replace(edges=graph.topology.softmax(self.scale * similarity))


def embed(episode: gf.Episode) -> gf.Graph:
    """All items of a task joined, edges not yet known."""
    topology = gf.complete_graph(episode.sizes, episode.x.device)
    return gf.Graph(episode.x, episode.x.new_zeros(len(topology.receivers), 1), topology, episode)


def convolved(encoder: nn.Module, dim: int) -> gf.GraphMethod:
    """Items move to the mean of those alike, through one learned map; then labeled ones vote."""
    # The edges are normalized and have self-loops already.
    convolution = GCNConv(dim, dim, normalize=False, add_self_loops=False, bias=False)
    nn.init.eye_(convolution.lin.weight)
    layers = [Alike(loops=1.0), gf.nn.PyGConv(convolution, edges=True), Alike(loops=-1e4)]
    return gf.GraphMethod(encoder, embed, layers, gf.nn.log_class_votes)


def features(steps: int) -> tuple[gf.Dataset, gf.Dataset]:
    """Characters to train on and unseen ones, encoded by a prototypical network."""
    train, test = gf.data.glyphs("train"), gf.data.glyphs("test")
    model = gf.create("prototypical", encoder=gf.backbones.conv4(width=16, seed=0))
    for _ in gf.train(
        model,
        gf.Tasks(train, way=10, shot=1, query=3, seed=1),
        loss=gf.node_loss,
        batch=4,
        steps=steps,
    ):
        pass
    return gf.data.encode(train, model.encoder), gf.data.encode(test, model.encoder)


def main(encoder_steps: int = 150, steps: int = 200, tasks: int = 300) -> dict[str, gf.Comparison]:
    """The method before and after its training, and trained but alone with each query, against prototypes."""
    train, test = features(encoder_steps)
    dim = train.x.shape[1]
    encoder = gf.backbones.identity(dim)
    unseen = gf.Tasks(test, way=5, shot=1, query=10, seed=2)
    prototypes = gf.evaluate(gf.create("prototypical", encoder=encoder), unseen, n=tasks)
    model = convolved(encoder, dim)
    results = {"untrained": gf.evaluate(model, unseen, n=tasks)}
    source = gf.Tasks(train, way=5, shot=1, query=10, seed=3)
    for step in gf.train(model, source, loss=gf.node_loss, batch=16, steps=steps):
        if step.index % 50 == 49:
            print(f"step {step.index + 1}: loss {step.loss:.2f}, accuracy {step.accuracy:.2f}")
    results["trained"] = gf.evaluate(model, unseen, n=tasks)
    results["trained, each query alone"] = gf.evaluate(
        model.in_mode(transductive=False), unseen, n=tasks
    )
    return {name: gf.compare_results(result, prototypes) for name, result in results.items()}


if __name__ == "__main__":
    compared = main()
    print(f"{'prototypes':26} {next(iter(compared.values())).b.mean:.1%}")
    for name, comparison in compared.items():
        print(f"{name:26} {comparison.a.mean:.1%}  {comparison}")
