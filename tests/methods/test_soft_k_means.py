"""The three variants of soft k-means against loops, and their properties."""

import math

import pytest
import torch
from episodes import DIM, identity_model, task
from reference import soft_k_means as reference
from reference_check import UNLABELED, assert_matches, state_arrays

import graphfew as gf
from graphfew.core.dense_batch import DenseBatch

NAMES = ["soft_k_means", "soft_k_means_cluster", "soft_k_means_masked"]
LEARNED = NAMES[1:]


def create(name, dim=DIM, **arguments):
    return gf.create(name, encoder=gf.backbones.identity(dim), **arguments).double()


def formula(probs, steps):
    return lambda *e: reference.logits(*e, probs=probs, steps=steps)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("tasks", UNLABELED.values(), ids=UNLABELED)
def test_soft_k_means(tasks, steps):
    assert_matches(create("soft_k_means", steps=steps), tasks, formula(reference.plain, steps))


@pytest.mark.parametrize(("steps", "length_scale"), [(1, 100.0), (1, 0.5), (3, 2.0), (2, 1e100)])
@pytest.mark.parametrize("tasks", UNLABELED.values(), ids=UNLABELED)
def test_soft_k_means_cluster(tasks, steps, length_scale):
    model = create("soft_k_means_cluster", steps=steps, length_scale=length_scale)
    log = state_arrays(model)["layers.0.assign.log_length_scale"]
    assert log == pytest.approx(math.log(length_scale), rel=1e-6)
    assert_matches(model, tasks, formula(reference.with_cluster(log), steps))


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(
    "tasks",
    [*UNLABELED.values(), [task(s, 3, (1, 2), 3, unlabeled=7 + s) for s in (1, 2, 2)]],
    ids=[*UNLABELED, "many"],
)
def test_soft_k_means_masked(tasks, steps):
    model = identity_model("soft_k_means_masked", steps=steps)
    assert_matches(
        model, tasks, formula(reference.masked(state_arrays(model), "layers.0.assign.net"), steps)
    )


@pytest.mark.parametrize("name", NAMES)
def test_predictions_do_not_depend_on_other_queries(name):
    e = task(3, 3, (2, 1), 4, unlabeled=5)
    model = identity_model(name)
    context = ~e.query
    for rank, node in enumerate(e.query.nonzero().flatten().tolist()):
        keep = context.clone()
        keep[node] = True
        alone = gf.Episode.single(e.x[keep], e.y[keep], e.query[keep], 3)
        assert torch.allclose(model(alone).logits[0], model(e).logits[rank], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_without_unlabeled_nodes_matches_prototypical(name):
    e = gf.collate(UNLABELED["mixed"])
    assert torch.allclose(
        identity_model(name, steps=2)(e).logits,
        create("prototypical")(e).logits,
        rtol=0,
        atol=1e-10,
    )


def class_nodes(name, e, **arguments):
    return create(name, e.x.shape[1], **arguments)(e).graphs[-1].nodes[len(e.y) :]


@pytest.mark.parametrize("name", NAMES)
def test_class_nodes_depend_on_unlabeled_nodes_only(name):
    e = task(5, 3, (1, 2), 3, unlabeled=4)
    before = class_nodes(name, e, steps=2)
    noise = torch.randn(e.x.shape, generator=torch.Generator().manual_seed(0), dtype=e.x.dtype)
    queries, others = (
        e.encode(lambda x, who=who: x + noise * who[:, None])
        for who in (e.query, (e.y < 0) & ~e.query)
    )
    assert torch.allclose(before, class_nodes(name, queries, steps=2), rtol=0, atol=1e-12)
    assert (before - class_nodes(name, others, steps=2)).abs().max() > 1e-3


def blobs(seed, distractors=0):
    """1-shot tasks of 3 classes in the plane, with 20 unlabeled nodes of each class and 10 queries, and their targets;
    distractors stand together, far from every class."""
    generator = torch.Generator().manual_seed(seed)
    middle = torch.tensor([[3.0, 0], [-1.5, 2.6], [-1.5, -2.6]], dtype=torch.float64)
    label = torch.arange(3).repeat(31)
    x = middle[label] + torch.randn(93, 2, generator=generator, dtype=torch.float64)
    far = torch.tensor([8.0, 8.0]) + torch.randn(
        distractors, 2, generator=generator, dtype=torch.float64
    )
    y = torch.cat([label.masked_fill(torch.arange(93) >= 3, -1), torch.full((distractors,), -1)])
    query = torch.arange(93 + distractors) >= 63
    query[93:] = False
    return gf.Episode.single(torch.cat([x, far]), y, query, 3), label[63:]


def accuracy(name, tasks, *, labeled_only=False, **arguments):
    e, target = gf.collate([e for e, _ in tasks]), torch.cat([t for _, t in tasks])
    logits = create(name, 2, **arguments)(e.drop_unlabeled() if labeled_only else e).logits
    return (logits.argmax(1) == target).double().mean().item()


@pytest.mark.parametrize("name", NAMES)
def test_unlabeled_nodes_help(name):
    tasks = [blobs(seed) for seed in range(20)]
    without = accuracy(name, tasks, labeled_only=True)
    assert without == accuracy("prototypical", tasks, labeled_only=True)
    assert accuracy(name, tasks) > without + 0.04


@pytest.mark.parametrize("name", LEARNED)
def test_distractors_hurt_soft_k_means_most(name):
    tasks = [blobs(seed, distractors=20) for seed in range(20)]
    assert accuracy(name, tasks) > accuracy("soft_k_means", tasks) + 0.02


def task_with_far_node(position):
    """Two supports, an unlabeled node near each, and one more at the given position."""
    x = torch.tensor(
        [[1.0, 0], [-1, 0], [1.5, 0], [-1.5, 0], position, [0, 0]], dtype=torch.float64
    )
    y = torch.tensor([0, 1, -1, -1, -1, -1])
    return gf.Episode.single(x, y, torch.arange(6) == 5, 2)


def drop_last_unlabeled(e):
    keep = torch.tensor([0, 1, 2, 3, 5])
    return gf.Episode.single(e.x[keep], e.y[keep], e.query[keep], 2)


def test_cluster_absorbs_far_nodes_only():
    far, near = task_with_far_node([9.0, 9.0]), task_with_far_node([1.4, 0.2])
    assert class_nodes("soft_k_means", far)[0, 1] > 2.9
    assert torch.allclose(
        class_nodes("soft_k_means_cluster", far),
        class_nodes("soft_k_means_cluster", drop_last_unlabeled(far)),
        rtol=0,
        atol=1e-10,
    )
    assert torch.allclose(
        class_nodes("soft_k_means_cluster", near),
        class_nodes("soft_k_means", near),
        rtol=0,
        atol=0.01,
    )


@pytest.mark.parametrize("r", [5.0, 100.0, 1e4])
def test_cluster_boundary(r):
    """A node at a squared distance of `log r + ‖x‖²/r²` is half the class's, here of one at the origin."""
    x = torch.zeros(4, 2, dtype=torch.float64)
    x[1, 0], x[2, 0] = 1e3, math.sqrt(math.log(r) / (1 - 1 / r**2))
    e = gf.Episode.single(x, torch.tensor([0, 1, -1, -1]), torch.arange(4) == 3, 2)
    moved = class_nodes("soft_k_means_cluster", e, length_scale=r)
    assert torch.allclose(moved[0], x[2] * 0.5 / 1.5, rtol=0, atol=1e-6)


def test_initial_mask_downweights_far_nodes():
    far = task_with_far_node([9.0, 9.0])
    plain, masked = (
        class_nodes(name, far)[0, 1].item() for name in ("soft_k_means", "soft_k_means_masked")
    )
    assert 0 < masked < plain / 2


def test_sharp_mask_drops_nodes_beyond_threshold():
    far = task_with_far_node([9.0, 9.0])
    model = create("soft_k_means_masked", 2)
    last = model.layers.get_submodule("0.assign.net.2")
    torch.nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.tensor([0.5, 100.0]).log())
    assert torch.allclose(
        model(far).graphs[-1].nodes[6:],
        class_nodes("soft_k_means", drop_last_unlabeled(far)),
        rtol=0,
        atol=1e-6,
    )


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_mask_is_scale_invariant(scale):
    e = task(6, 3, (2,), 3, unlabeled=6)
    masks = []
    for x in (e.x, scale * e.x):
        layer = identity_model("soft_k_means_masked").layers.get_submodule("0.assign")
        with torch.no_grad():
            distance = torch.cdist(x[None], x[None, :3]).square()
            label = torch.nn.functional.one_hot(e.y + 1, 4)[None, :, 1:].to(x.dtype)
            masks.append(
                layer.mask(DenseBatch(x[None], label, e.query[None]), distance)[
                    :, (e.y < 0) & ~e.query
                ]
            )
    assert torch.allclose(*masks, rtol=0, atol=1e-10)
    assert masks[0].std() > 0.01


@pytest.mark.parametrize("name", LEARNED)
def test_parameters_get_gradients_from_unlabeled_nodes_only(name):
    model, target = identity_model(name), torch.tensor([0, 1, 2])
    grads = {}
    for count in (0, 4):
        model.zero_grad()
        gf.node_loss(model(task(1, 3, (1, 2), 3, unlabeled=count)), target).backward()
        grads[count] = [p.grad.abs().max().item() for p in model.parameters()]
    assert set(grads[0]) == {0.0}
    assert min(grads[4]) > 0


def move_unlabeled_onto_support(e):
    """Move every unlabeled node onto a support."""
    here = e.x[e.y.argmax()]
    return e.encode(lambda x: torch.where(((e.y < 0) & ~e.query)[:, None], here, x))


HARD = {
    "none": task(1, 3, (1,), 3),
    "one": task(1, 3, (1,), 3, unlabeled=1),
    "one on a support": move_unlabeled_onto_support(task(1, 3, (1,), 3, unlabeled=1)),
    "all on a support": move_unlabeled_onto_support(task(1, 3, (1,), 3, unlabeled=4)),
    "identical": task(1, 3, (1,), 3, unlabeled=4).encode(lambda x: x[:1].expand_as(x).clone()),
    "nearly identical": task(1, 3, (1,), 3, unlabeled=4).encode(lambda x: 1e-21 * x),
    "all zero": task(1, 3, (1,), 3, unlabeled=4).encode(torch.zeros_like),
    "far apart": task(1, 3, (1,), 3, unlabeled=4).encode(lambda x: 1e6 * x),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "e", [*HARD.values(), gf.collate([*HARD.values()])], ids=[*HARD, "together"]
)
@pytest.mark.parametrize("name", NAMES)
def test_logits_and_gradients_are_finite(name, e, dtype):
    x = e.x.detach().clone().to(dtype).requires_grad_()
    model = identity_model(name, steps=2).to(dtype)
    out = model(e.encode(lambda _: x))
    gf.node_loss(out, torch.tensor([0, 1, 2] * e.n_tasks)).backward()
    assert torch.isfinite(out.logits).all()
    assert all(torch.isfinite(value.grad).all() for value in (x, *model.parameters()))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        *((name, {"steps": 0}, "steps must be at least 1, got 0") for name in NAMES),
        *(
            (
                "soft_k_means_cluster",
                {"length_scale": r},
                f"length_scale must be positive and finite, got {r}",
            )
            for r in (0.0, -1.0, math.inf, math.nan)
        ),
        ("soft_k_means_masked", {"hidden": 0}, "hidden must be at least 1, got 0"),
    ],
)
def test_invalid_arguments(name, arguments, words):
    with pytest.raises(ValueError, match=words):
        create(name, **arguments)
