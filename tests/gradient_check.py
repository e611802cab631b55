"""Compare the gradients of a method with finite differences, and train one on few tasks."""

import torch

import graphfew as gf


def assert_gradients(model, tasks, **options):
    """Check the gradients of the loss with respect to the features and all trained weights."""
    batch = gf.collate(tasks)
    target = torch.cat([torch.arange(e.n_queries[0]) % e.way[0] for e in tasks])
    weights = {name: w for name, w in model.named_parameters() if w.requires_grad}

    def loss(x, *values):
        state = dict(zip(weights, values, strict=True))
        out = torch.func.functional_call(model, state, (batch.encode(lambda _: x),))
        return gf.node_loss(out, target)

    leaves = [v.detach().clone().requires_grad_() for v in (batch.x, *weights.values())]
    assert torch.autograd.gradcheck(loss, leaves, fast_mode=True, **options)


def losses_before_and_after(model, tasks, *, steps, lr, batch=4):
    """Train with Adam; return the loss on unseen tasks of the same source before and after."""
    unseen = tasks.batch(range(10_000, 10_020))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)

    def evaluate():
        with torch.no_grad(), gf.nn.eval_mode(model):
            return gf.node_loss(model(unseen[0]), unseen[1]).item()

    before = evaluate()
    model.train()
    for step in range(steps):
        episode, target = tasks.batch(range(step * batch, (step + 1) * batch))
        optimizer.zero_grad()
        gf.node_loss(model(episode), target).backward()
        optimizer.step()
    return before, evaluate()
