"""Random episodes of features, and models with random weights and statistics."""

import torch

import graphfew as gf

DIM = 5
# Arguments without which a method cannot be created.
REQUIRED = {"poisson_mbo": {"prior": "uniform"}}


def task(seed, way=3, shots=(1, 2, 1), queries=3, unlabeled=0, dim=DIM):
    """One task in random node order, float64; `shots` are used in turn."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.cat([torch.full((shots[c % len(shots)],), c) for c in range(way)])
    context = len(y) + unlabeled
    y = torch.cat([y, torch.full((unlabeled + queries,), -1)])
    query = torch.arange(len(y)) >= context
    x = torch.randn(len(y), dim, generator=generator, dtype=torch.float64)
    order = torch.randperm(len(y), generator=generator)
    return gf.Episode.single(x, y[order], query[order], way)


def randomized(model, seed=0):
    """The model in float64 and evaluation mode, with random weights, biases and batch norm statistics."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double().eval()
    for name, value in model.state_dict().items():
        if value.dtype.is_floating_point:
            noise = torch.rand(value.shape, generator=generator, dtype=value.dtype)
            positive = name.endswith(("running_var", "norm.weight"))
            # Large weights, so that inputs still matter after several layers.
            scale = 6 / value.shape[1] ** 0.5 if value.ndim > 1 else 1
            value.copy_(noise + 0.5 if positive else scale * (noise - 0.5))
    return model


def identity_model(name, **arguments):
    """A method on features of width DIM, randomized."""
    arguments = {**REQUIRED.get(name, {}), **arguments}
    return randomized(gf.create(name, encoder=gf.backbones.identity(DIM), **arguments))
