"""LEO against its published form with one code per support: values, gradients and samples."""

import functools

import pytest
import torch
from episodes import DIM, identity_model, task
from reference import leo as reference
from reference_check import LABELED
from torch.distributions import Normal

import graphfew as gf
from graphfew.nn.gaussian_sampler import GaussianSampler

SMALL = {"latents": 3, "latent_steps": 2, "finetuning_steps": 2, "p": 0.0}
EQUAL_SHOTS = [task(1, 3, (2,), 2), task(2, 4, (3,), 3)]
BATCHES = {**LABELED, "equal shots": EQUAL_SHOTS}


def small_model(**arguments):
    """A model whose codes and weights stay moderate in training."""
    model = identity_model("leo", **{**SMALL, "encoder_weight": 0.3, **arguments})
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.mul_(0.2 if "rate" not in name else 1.0)
    return model


def synthetic_classes():
    """Classes that differ in 3 of 12 features; the others are noise of the same size."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(40).repeat_interleave(10)
    signal = torch.randn(40, 3, generator=generator)[y]
    signal = signal + 0.3 * torch.randn(400, 3, generator=generator)
    noise = torch.randn(400, 9, generator=generator)
    return gf.data.arrays(torch.cat([signal, noise], dim=1), y)


def draw_noise(model, tasks, seed):
    layer = model.layers[0]
    width = layer.encoder.out_features + (layer.latent_steps + 1) * DIM
    torch.manual_seed(seed)
    return [torch.randn(e.way[0], width, dtype=torch.float64) for e in tasks]


def outputs(model, tasks, x, noise):
    """Logits of all queries, concatenated, and the penalties, from the reference."""
    parts = x.split([len(e.y) for e in tasks])
    results = [
        reference.forward(
            model.layers[0], part, e.y.tolist(), e.query.tolist(), e.way[0], task_noise
        )
        for part, e, task_noise in zip(parts, tasks, noise, strict=True)
    ]
    return [logits for logits, _ in results], torch.stack([penalty for _, penalty in results])


def scalar(logits, penalty):
    """A loss that weights every logit differently."""
    terms = [
        (values * torch.arange(1, values.numel() + 1).view(values.shape)).sin().sum()
        for values in logits
    ]
    return sum(terms) + penalty.sum()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("tasks", BATCHES.values(), ids=BATCHES)
def test_logits_penalty_and_gradients(tasks, training):
    model = small_model().train(training)
    batch = gf.collate(tasks)
    noise = draw_noise(model, tasks, 5) if training else [None] * len(tasks)
    x = batch.x.clone().requires_grad_()
    expected_logits, expected_penalty = outputs(model, tasks, x, noise)
    torch.manual_seed(5)
    out = model(batch.encode(lambda _: x))
    rows = out.logits.split([e.n_queries[0] for e in tasks])
    logits = [row[:, : e.way[0]] for row, e in zip(rows, tasks, strict=True)]
    for actual, expected in zip(logits, expected_logits, strict=True):
        assert torch.allclose(actual, expected, rtol=0, atol=1e-11)
    assert torch.allclose(out.graphs[-1].penalty, expected_penalty, rtol=1e-10, atol=0)
    inputs = [x, *model.parameters()]
    grads = torch.autograd.grad(scalar(logits, out.graphs[-1].penalty), inputs)
    expected_grads = torch.autograd.grad(scalar(expected_logits, expected_penalty), inputs)
    for actual, expected in zip(grads, expected_grads, strict=True):
        assert torch.allclose(actual, expected, rtol=1e-8, atol=1e-10)
        assert actual.any()


def test_divergence_is_the_difference_of_log_densities():
    generator = torch.Generator().manual_seed(0)
    mean, noise = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    s = torch.rand(4, 3, generator=generator, dtype=torch.float64) + 0.1
    deviation = s.exp() - 1
    z = mean + deviation * noise
    expected = Normal(mean, deviation).log_prob(z) - Normal(0.0, 1.0).log_prob(z)
    actual = GaussianSampler().divergence(torch.cat([mean, s], dim=1), noise)
    assert torch.allclose(actual, expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("training", [False, True])
def test_gradients_match_finite_differences(training):
    model = small_model().train(training)
    e = task(8, 3, (1, 2), 2)
    # The encoder penalty treats the adapted codes as constants, which differences do not.
    model.layers[0].penalty_weights = type(model.layers[0].penalty_weights)(0.7, 0.0, 0.2)

    def loss(x):
        torch.manual_seed(3)
        out = model(e.encode(lambda _: x))
        return gf.methods.penalized_node_loss(out, torch.tensor([0, 2]))

    assert torch.autograd.gradcheck(loss, e.x.clone().requires_grad_(), eps=1e-6, atol=1e-7)


def test_noise_does_not_depend_on_later_tasks_or_grouping():
    first, same_size, other = task(1, 3, (1,), 2), task(2, 3, (1,), 2), task(3, 4, (2,), 3)
    model = small_model().train()
    results = []
    for batch in ([first], [first, same_size], [first, other], [first, other, same_size]):
        torch.manual_seed(0)
        results.append(model(gf.collate(batch)).logits[:2, :3])
    for result in results[1:]:
        assert torch.allclose(result, results[0], rtol=0, atol=1e-12)


def test_training_is_reproducible():
    tasks = gf.Tasks(gf.data.digits(), way=3, shot=(1, 2), query=2)

    def losses(seed):
        model = gf.create("leo", encoder=gf.backbones.conv4(width=4), latents=4)
        loss = gf.methods.penalized_node_loss
        return [
            step.loss for step in gf.train(model, tasks, loss=loss, batch=2, steps=3, seed=seed)
        ]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_evaluation_uses_the_means_and_needs_no_gradients():
    model = small_model(p=0.5)
    e = task(8, 3, (1, 2), 3)
    logits = model(e).logits
    with torch.no_grad():
        assert torch.equal(model(e).logits, logits)
    with torch.inference_mode():
        assert torch.equal(model(e).logits, logits)


def test_dropout_has_one_mask_for_all_steps():
    """What the queries and the adaptation see are features of the same mask."""
    model = small_model(p=0.5).train()
    graph = model(task(8, 3, (1, 2), 3)).graphs[1]
    unit = model(task(8, 3, (1, 2), 3)).graphs[0].nodes[: len(graph.episode.y)]
    items = graph.nodes[: len(graph.episode.y)]
    is_dropped = items == 0
    assert is_dropped.any()
    assert torch.allclose(items, torch.where(is_dropped, 0.0, 2 * unit))


@pytest.mark.parametrize(
    "arguments", [{"latents": 0}, {"latent_steps": 0}, {"finetuning_steps": -1}]
)
def test_invalid_sizes_raise(arguments):
    with pytest.raises(ValueError, match=r"leo got latents=.*must be at least 1"):
        gf.create("leo", encoder=gf.backbones.identity(DIM), **arguments)


def test_negative_weight_raises():
    with pytest.raises(ValueError, match=r"kl_weight=-1.*at least 0"):
        gf.create("leo", encoder=gf.backbones.identity(DIM), kl_weight=-1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"p": 1.5}, "p must be at least 0 and below 1"),
        ({"p": float("nan")}, "p must be at least 0 and below 1"),
        ({"latent_rate": float("nan")}, "latent_rate must be positive and finite"),
        ({"finetuning_rate": float("inf")}, "finetuning_rate must be positive and finite"),
        ({"encoder_weight": float("inf")}, "encoder_weight=inf.*at least 0 and finite"),
    ],
)
def test_invalid_numbers_raise(arguments, message):
    with pytest.raises(gf.errors.InvalidInputError, match=message):
        gf.create("leo", encoder=gf.backbones.identity(DIM), **arguments)


def test_loss_needs_a_penalty():
    model, e = identity_model("prototypical"), task(1, 3, (1,), 3)
    with pytest.raises(ValueError, match="use node_loss"):
        gf.methods.penalized_node_loss(model(e), torch.tensor([0, 1, 2]))


def test_diverging_codes_stay_finite():
    model = small_model(latent_rate=1e6).train()
    with torch.no_grad():
        model.layers[0].latent_rate.fill_(1e6)
        model.layers[0].decoder.weight.mul_(100)
    out = model(task(8, 3, (1, 2), 3))
    loss = gf.methods.penalized_node_loss(out, torch.tensor([0, 1, 2]))
    loss.backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())


def test_training_improves_accuracy():
    tasks = gf.Tasks(synthetic_classes(), way=5, shot=1, query=5, seed=0)
    test = gf.Tasks(synthetic_classes(), way=5, shot=1, query=5, seed=1)
    model = gf.create("leo", encoder=gf.backbones.identity(12), latents=16, p=0.0, kl_weight=0.01)
    before = gf.evaluate(model, test, 60).mean
    adam = functools.partial(torch.optim.Adam, lr=1e-2)
    optimizer = gf.training.clip_gradients(adam, value=0.1, tensor_norm=0.1)
    loss = gf.methods.penalized_node_loss
    for _ in gf.train(model, tasks, loss=loss, batch=8, steps=100, optimizer=optimizer):
        pass
    assert gf.evaluate(model, test, 60).mean > before + 0.05
