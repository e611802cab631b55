"""Checks that the tests of the meta-learning methods share."""

import torch

import graphfew as gf


def assert_matches_loops(model, tasks, loops, tolerance=1e-9):
    """Compare logits and gradients of a model with a reference that loops over one task.

    `loops(model, x, y, query, way)` returns the logits `[queries, way]` of one task with the
    parameters of the model. Gradients of a random function of all logits are compared, by every
    parameter and by the features.
    """
    episode = gf.collate(tasks)
    x = episode.x.clone().requires_grad_()
    logits = model(episode.encode(lambda _: x)).logits
    parts = logits.split(list(episode.n_queries))
    actual = [part[:, :way] for part, way in zip(parts, episode.way, strict=True)]
    expected = []
    for e, features in zip(tasks, x.split(list(episode.sizes)), strict=True):
        expected.append(loops(model, features, e.y.tolist(), e.query.tolist(), e.way[0]))
    for a, b in zip(actual, expected, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() < tolerance * max(1, b.detach().abs().max())
    weights = [x, *model.parameters()]
    generator = torch.Generator().manual_seed(0)
    factors = [torch.randn(a.shape, generator=generator, dtype=a.dtype) for a in actual]
    for a, b in zip(
        _gradients(weights, actual, factors), _gradients(weights, expected, factors), strict=True
    ):
        assert (a - b).abs().max() < tolerance * max(1, b.abs().max())


def _gradients(weights, logits, factors):
    total = sum((f * part).sum() for f, part in zip(factors, logits, strict=True))
    return torch.autograd.grad(total, weights, retain_graph=True)


def lstm_step(cell, inputs, hidden, state):
    """One step of an LSTM cell on vectors; returns the output and the cell state."""
    gates = cell.weight_ih @ inputs + cell.bias_ih + cell.weight_hh @ hidden + cell.bias_hh
    i, f, g, o = gates.chunk(4)
    state = f.sigmoid() * state + i.sigmoid() * g.tanh()
    return o.sigmoid() * state.tanh(), state


def clusters(seed, n_classes, n_items=12):
    """Classes that differ in 4 features, next to 4 features of large noise."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n_classes).repeat_interleave(n_items)
    means = torch.randn(n_classes, 4, generator=generator)
    signal = means[y] + 0.4 * torch.randn(len(y), 4, generator=generator)
    x = torch.cat([signal, 2 * torch.randn(len(y), 4, generator=generator)], dim=1)
    return gf.data.arrays(x, y)


def accuracies_before_and_after(name, arguments, way=3, shot=2, steps=50, batch=8, lr=1e-2):
    """Accuracy on new classes with a linear encoder, before and after a short training."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = torch.nn.Linear(8, 8)
    model = gf.create(name, encoder=encoder, dim=8, **arguments)
    options = {"way": way, "shot": shot, "query": 4}
    training = gf.Tasks(clusters(0, 40), **options, seed=1)
    test = gf.Tasks(clusters(1, 40), **options, seed=2)

    def accuracy():
        return gf.evaluate(model, test, 40).mean

    before = accuracy()

    def optimizer(parameters):
        return torch.optim.Adam(parameters, lr=lr)

    for _ in gf.train(
        model, training, loss=gf.node_loss, batch=batch, steps=steps, optimizer=optimizer
    ):
        pass
    return before, accuracy()
