"""A PyTorch Geometric convolution as a layer of a few-shot method.

A method is `embed`, graph layers and a readout. The layers here are: edges from cosine similarity, a `GCNConv` that
uses them as edge weights (`gf.nn.PyGConv` makes any PyTorch Geometric convolution a layer), and edges again, from the
updated nodes; in the readout, labeled items vote along these edges. The convolution starts as an average over similar
items, with an identity weight matrix, and is then trained.

The script prints accuracies on the same tasks of unseen characters: of prototypes; of the new method before and after
training; and of the trained method in inductive mode, where the convolution sees the labeled items only. Each comes
with its paired difference from prototypes. All use one encoder, which was trained as a prototypical network.

Run: python examples/pyg_layer.py (glyphs, which the library renders)
"""

import torch
from torch import nn
from torch_geometric.nn import GCNConv

import graphfew as gf


class SimilarityEdges(nn.Module):
    """Edges: softmax of scaled cosine similarity over the senders of each node; the scale is learned.

    `self_loop_value` is the similarity of a node with itself; a large negative number masks self-loops.
    """

    def __init__(self, self_loop_value: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0))
        self.self_loop_value = self_loop_value

    def forward(self, graph: gf.Graph) -> gf.Graph:
        """Return the graph with edges `[E, 1]` that sum to 1 for each receiver."""
        similarity = graph.topology.apply_pairs(
            gf.nn.cosine, graph.nodes, self_loop_value=self.self_loop_value
        )
        return graph.replace(edges=graph.topology.softmax(self.scale * similarity))


def embed(episode: gf.Episode) -> gf.Graph:
    """The complete graph of each task, with zero edges."""
    topology = gf.complete_graph(episode.sizes, episode.x.device)
    return gf.Graph(episode.x, episode.x.new_zeros(len(topology.receivers), 1), topology, episode)


def convolutional_votes(encoder: nn.Module, dim: int) -> gf.GraphMethod:
    """Message passing over similar items with a learned linear layer; then labeled items vote."""
    # The edges are normalized and include self-loops already.
    convolution = GCNConv(dim, dim, normalize=False, add_self_loops=False, bias=False)
    nn.init.eye_(convolution.lin.weight)
    message_passing = gf.nn.PyGConv(convolution, edges=True)
    layers = [SimilarityEdges(1.0), message_passing, SimilarityEdges(-1e4)]
    return gf.GraphMethod(encoder, embed, layers, gf.nn.log_class_votes)


def encode(steps: int) -> tuple[gf.Dataset, gf.Dataset]:
    """Features of training and of unseen characters, from a prototypical network."""
    train, test = gf.data.glyphs("train"), gf.data.glyphs("test")
    model = gf.create("prototypical", encoder=gf.backbones.conv4(width=16, seed=0))
    tasks = gf.Tasks(train, way=10, shot=1, query=3, seed=1)
    for _ in gf.train(model, tasks, loss=gf.node_loss, batch=4, steps=steps):
        pass
    return gf.data.encode(train, model.encoder), gf.data.encode(test, model.encoder)


def main(encoder_steps: int = 150, steps: int = 200, tasks: int = 300) -> dict[str, gf.Comparison]:
    """The method before training, after training, and in inductive mode, compared with prototypes."""
    train, test = encode(encoder_steps)
    dim = train.x.shape[1]
    encoder = gf.backbones.identity(dim)
    unseen = gf.Tasks(test, way=5, shot=1, query=10, seed=2)
    prototypes = gf.evaluate(gf.create("prototypical", encoder=encoder), unseen, n=tasks)
    model = convolutional_votes(encoder, dim)
    results = {"untrained": gf.evaluate(model, unseen, n=tasks)}
    train_tasks = gf.Tasks(train, way=5, shot=1, query=10, seed=3)
    for step in gf.train(model, train_tasks, loss=gf.node_loss, batch=16, steps=steps):
        if step.index % 50 == 49:
            print(f"step {step.index + 1}: loss {step.loss:.2f}, accuracy {step.accuracy:.2f}")
    results["trained"] = gf.evaluate(model, unseen, n=tasks)
    inductive = model.in_mode(transductive=False)
    results["trained, inductive"] = gf.evaluate(inductive, unseen, n=tasks)
    return {name: gf.compare_results(result, prototypes) for name, result in results.items()}


if __name__ == "__main__":
    comparisons = main()
    print(f"{'prototypes':20} {comparisons['trained'].b.mean:.1%}")
    for name, comparison in comparisons.items():
        print(f"{name:20} {comparison.a.mean:.1%}  {comparison}")
