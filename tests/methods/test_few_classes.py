"""Methods for queries of few of many classes: references, degenerate tasks and behavior."""

import numpy as np
import pytest
import torch
from episodes import DIM, task
from reference import few_classes
from reference_check import UNLABELED, assert_matches

import graphfew as gf
from graphfew.methods.em_dirichlet import fit_dirichlet
from graphfew.propagation import balanced_pairwise_affinities

NAMES = ("paddle", "em_dirichlet", "hard_em_dirichlet", "stata", "bpa")


def create(name, **arguments):
    return gf.create(name, encoder=gf.backbones.identity(DIM), **arguments).double()


def bind_arguments(formula, **arguments):
    return lambda *e: formula(*e, **arguments)


def assert_probs_match(name, arguments, tasks, formula):
    """Compare probabilities; the formulas return scores."""

    def probs(*e):
        return np.array([few_classes.softmax(row) for row in formula(*e)])

    assert_matches(create(name, **arguments), tasks, probs, probs=True, tolerance=1e-8)


@pytest.mark.parametrize(
    "arguments", [{}, {"inv_temperature": 3.0, "prior_weight": 1.0}, {"num_iterations": 1}], ids=str
)
@pytest.mark.parametrize("tasks", UNLABELED.values(), ids=UNLABELED)
def test_paddle(tasks, arguments):
    formula = bind_arguments(few_classes.paddle, **arguments)
    assert_probs_match("paddle", arguments, tasks, formula)


@pytest.mark.parametrize(
    "arguments",
    [
        {"inv_temperature": 3.0},
        {"inv_temperature": 3.0, "prior_weight": 0.2, "concentration_penalty": 0.1},
        {"num_iterations": 3, "mm_steps": 5},
    ],
    ids=str,
)
@pytest.mark.parametrize("tasks", UNLABELED.values(), ids=UNLABELED)
def test_em_dirichlet(tasks, arguments):
    formula = bind_arguments(few_classes.em_dirichlet, **arguments)
    assert_probs_match("em_dirichlet", arguments, tasks, formula)


@pytest.mark.parametrize("arguments", [{"inv_temperature": 3.0}, {"num_iterations": 2}], ids=str)
@pytest.mark.parametrize("tasks", UNLABELED.values(), ids=UNLABELED)
def test_hard_em_dirichlet(tasks, arguments):
    formula = bind_arguments(few_classes.em_dirichlet, **arguments, hard=True)
    assert_probs_match("hard_em_dirichlet", arguments, tasks, formula)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"k": 1, "neighbor_weight": 3.0, "num_iterations": 2},
        {"inv_temperature": 2.0, "likelihood_weight": 1.0, "anchor_strength": 4.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("tasks", UNLABELED.values(), ids=UNLABELED)
def test_stata(tasks, arguments):
    formula = bind_arguments(few_classes.stata, **arguments)
    assert_probs_match("stata", arguments, tasks, formula)


@pytest.mark.parametrize("arguments", [{}, {"regularization": 0.5, "power": 1.0}], ids=str)
@pytest.mark.parametrize("tasks", UNLABELED.values(), ids=UNLABELED)
def test_bpa(tasks, arguments):
    formula = bind_arguments(few_classes.bpa, **arguments)
    assert_matches(create("bpa", **arguments), tasks, formula, probs=True, tolerance=1e-9)


@pytest.mark.parametrize(
    "arguments", [{}, {"use_labels": False}, {"regularization": 0.5, "num_iterations": 3}], ids=str
)
@pytest.mark.parametrize("tasks", UNLABELED.values(), ids=UNLABELED)
def test_balanced_pairwise_affinities_alone_and_in_a_batch(tasks, arguments):
    batch = balanced_pairwise_affinities(gf.collate(tasks), **arguments)
    assert batch.x.shape[1] == max(batch.sizes)
    for e, rows in zip(tasks, batch.x.split(list(batch.sizes)), strict=True):
        expected = few_classes.affinities(e.x.numpy(), e.y.tolist(), **arguments)
        n = len(expected)
        assert np.abs(rows[:, :n].numpy() - expected).max() < 1e-10
        assert not rows[:, n:].any()
        alone = balanced_pairwise_affinities(e, **arguments)
        assert torch.allclose(alone.x, rows[:, :n], rtol=0, atol=1e-12)


def test_affinities_are_balanced():
    e = task(1, 3, (1,), 6)
    x = balanced_pairwise_affinities(e, num_iterations=200, use_labels=False).x
    x = x - torch.eye(len(x))
    assert torch.allclose(x.sum(1), x.sum(0), rtol=1e-6)
    assert torch.allclose(x.sum(0), x.sum(0).mean(), rtol=1e-6)


@pytest.mark.parametrize("transductive", [True, False])
@pytest.mark.parametrize("name", ["paddle", "label_spreading", "prototypical"])
def test_a_transform_changes_the_features_of_any_method(name, transductive):
    method = gf.METHODS[name]
    if not getattr(method, "transductive" if transductive else "inductive"):
        pytest.skip(f"{name} has no such mode")
    both = method.inductive and method.transductive
    model = create(name, **({"transductive": transductive} if both else {}))
    transformed = model.with_transform(balanced_pairwise_affinities)
    assert transformed.spec is None
    tasks = [task(8, 3, (1, 2), 3), task(9, 4, (2,), 2)]
    actual = transformed(gf.collate(tasks)).logits.split([3, 2])
    for e, logits in zip(tasks, actual, strict=True):
        # An inductive method gets the affinities of each query to the supports alone.
        graphs = e if transductive else e.inductive()
        expected = model.predict_logits(balanced_pairwise_affinities(graphs))
        probs = logits[:, : e.way[0]].softmax(1)
        assert torch.allclose(probs, expected.softmax(1), rtol=0, atol=1e-10)


def test_a_transform_applies_in_the_other_mode():
    model = create("label_spreading").with_transform(balanced_pairwise_affinities)
    inductive = create("label_spreading", transductive=False)
    e = task(8, 3, (1, 2), 3)
    expected = inductive.with_transform(balanced_pairwise_affinities)(e).logits
    actual = model.in_mode(transductive=False)(e).logits
    assert torch.allclose(actual, expected, rtol=0, atol=1e-12)


def degenerate(kind, dtype):
    """Return an unusual task of 6 ways."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, DIM, generator=generator, dtype=dtype)
    y = torch.tensor([*range(6), *[-1] * 14])
    if kind == "one query":
        x, y = x[:7], y[:7]
    elif kind == "one present class":
        x[6:] = x[0] + 1e-3 * x[6:]
    elif kind == "duplicates":
        x[6:] = x[1]
    elif kind == "all equal":
        x[:] = 1.0
    elif kind == "zeros":
        x[:] = 0.0
    elif kind == "huge":
        x *= 1e12
    elif kind == "constant features":
        x[:, 1:] = 3.0
    elif kind == "opposite supports":
        x[1] = -x[0]
        y = torch.tensor([0, 1, *[-1] * 18])
    return gf.Episode.single(x, y, y < 0, way=int(y.max()) + 1)


KINDS = (
    *("one query", "one present class", "duplicates", "all equal", "zeros", "huge"),
    *("constant features", "opposite supports"),
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_degenerate_tasks_have_finite_predictions(name, kind, dtype):
    e = degenerate(kind, dtype)
    logits = create(name).to(dtype)(e).logits
    assert logits.dtype == dtype
    assert torch.isfinite(logits).all()
    probs = logits.softmax(1)
    assert torch.allclose(probs.sum(1), torch.ones(len(probs), dtype=dtype), atol=1e-5)
    if kind in ("one present class", "duplicates"):
        expected = 0 if kind == "one present class" else 1
        assert (logits.argmax(1) == expected).all()


def clusters(n_present, n_queries, way=20, dim=16, noise=0.45, seed=0):
    """A 1-shot task of Gaussian classes with queries of the first classes only."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.nn.functional.normalize(torch.randn(way, dim, generator=generator), dim=1)
    truth = torch.randint(n_present, (n_queries,), generator=generator)
    labels = torch.cat([torch.arange(way), truth])
    x = centers[labels] + noise / 2 * torch.randn(len(labels), dim, generator=generator)
    y = torch.where(torch.arange(len(labels)) < way, labels, -1)
    return gf.Episode.single(x.double(), y, y < 0, way), truth


def mean_accuracy(model, n_present, n_queries):
    tasks = [clusters(n_present, n_queries, seed=seed) for seed in range(12)]
    hits = [(model(e).logits.argmax(1) == truth).double().mean() for e, truth in tasks]
    return torch.stack(hits).mean().item()


@pytest.mark.parametrize("name", ["paddle", "stata"])
@pytest.mark.parametrize("n_present", [1, 3, 20])
def test_no_loss_against_nearest_means_at_any_number_of_present_classes(name, n_present):
    encoder = gf.backbones.identity(16)
    nearest = mean_accuracy(gf.create("simpleshot", encoder=encoder).double(), n_present, 60)
    accuracy = mean_accuracy(gf.create(name, encoder=encoder).double(), n_present, 60)
    assert accuracy > nearest - 0.005


def test_a_method_that_expects_all_classes_loses_if_few_are_present():
    encoder = gf.backbones.identity(16)
    nearest = mean_accuracy(gf.create("simpleshot", encoder=encoder).double(), 1, 60)
    balanced = gf.create("pt_map", encoder=encoder, balanced=True).double()
    assert mean_accuracy(balanced, 1, 60) < nearest - 0.1


def test_a_larger_prior_weight_uses_fewer_classes():
    e, _ = clusters(3, 60, noise=0.8)
    n_classes = [
        len(
            gf.create("paddle", encoder=gf.backbones.identity(16), prior_weight=weight)
            .double()(e)
            .logits.argmax(1)
            .unique()
        )
        for weight in (0.0, 1.0, 4.0)
    ]
    assert n_classes == sorted(n_classes, reverse=True)
    assert n_classes[0] > n_classes[-1]


def test_dirichlet_parameters_maximize_the_likelihood():
    generator = np.random.default_rng(0)
    true_alpha = np.array([0.3, 2.0, 7.0])
    log_z = torch.from_numpy(np.log(generator.dirichlet(true_alpha, 200)))
    mean_log = log_z.mean(0)
    alpha = fit_dirichlet(mean_log, torch.ones(3, dtype=torch.float64), 3000)
    # At the maximum the derivative of the log-likelihood is 0.
    slope = torch.digamma(alpha.sum()) - torch.digamma(alpha) + mean_log
    assert slope.abs().max() < 1e-6
    assert np.allclose(alpha.numpy(), true_alpha, rtol=0.25)


def test_every_step_increases_the_dirichlet_likelihood():
    mean_log = torch.tensor([-3.0, -0.5, -1.5], dtype=torch.float64)
    alpha = torch.ones(3, dtype=torch.float64)
    values = []
    for _ in range(30):
        constant = torch.lgamma(alpha.sum()) - torch.lgamma(alpha).sum()
        values.append((constant + (alpha * mean_log).sum()).item())
        alpha = fit_dirichlet(mean_log, alpha, 1)
    assert values == sorted(values)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("paddle", {"inv_temperature": 0.0}, "inv_temperature must be positive, got 0"),
        ("paddle", {"prior_weight": -1.0}, "prior_weight must .* got -1"),
        ("paddle", {"num_iterations": 0}, "num_iterations must .* got 0"),
        ("em_dirichlet", {"concentration_penalty": -1.0}, "concentration_penalty must .* got -1"),
        ("hard_em_dirichlet", {"mm_steps": 0}, "mm_steps must .* got 0"),
        ("em_dirichlet", {"inv_temperature": -1.0}, "inv_temperature must .* got -1"),
        ("stata", {"anchor_strength": 0.0}, "anchor_strength must be positive, got 0"),
        ("stata", {"neighbor_weight": -1.0}, "neighbor_weight must .* got -1"),
        ("stata", {"k": 0}, "k must .* got 0"),
        ("bpa", {"regularization": 0.0}, "regularization must be positive, got 0"),
        ("bpa", {"sinkhorn_iterations": 0}, "sinkhorn_iterations must .* got 0"),
        *((name, {"center": [0.0]}, "the center has 1 values") for name in NAMES),
    ],
)
def test_invalid_arguments(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        create(name, **arguments)


@pytest.mark.parametrize("arguments", [{"regularization": 0.0}, {"num_iterations": 0}], ids=str)
def test_invalid_arguments_of_affinities(arguments):
    with pytest.raises(ValueError, match=r"must be .* got 0"):
        balanced_pairwise_affinities(task(1, 3, (1,), 2), **arguments)
