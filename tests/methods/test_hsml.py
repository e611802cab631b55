"""HSML against loops with gradient descent by autograd: values and second-order gradients."""

import pytest
import torch
from episodes import DIM, identity_model, task
from reference import hsml as reference
from reference_check import LABELED

import graphfew as gf
from graphfew.nn.cluster_tree import ClusterTree


def small_model(**arguments):
    return identity_model("hsml", hidden=6, steps=3, reconstruction_weight=0.2, **arguments)


def families(n_classes=20, per_class=8):
    """Two groups of classes: one differs in features 0 to 2, the other in features 3 to 5."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(2 * n_classes).repeat_interleave(per_class)
    x = torch.randn(len(y), 6, generator=generator)
    centers = torch.randn(2 * n_classes, 3, generator=generator)
    for group, columns in enumerate((slice(0, 3), slice(3, 6))):
        is_member = y // n_classes == group
        x[is_member, columns] = centers[y[is_member]] + 0.3 * x[is_member, columns]
        # What tells the groups apart: the other features of each have another mean.
        x[is_member] += 1.5 * group
    names = tuple(str(i) for i in range(2 * n_classes))
    groups = ("a",) * n_classes + ("b",) * n_classes
    return gf.data.Dataset("families", "all", x, y, names, groups)


@pytest.mark.parametrize("clusters", [(4, 2), (3,), (3, 2, 2)])
@pytest.mark.parametrize("tasks", LABELED.values(), ids=LABELED)
def test_logits_penalty_and_gradients(tasks, clusters):
    model = small_model(clusters=clusters)
    batch = gf.collate(tasks)
    x = batch.x.clone().requires_grad_()
    out = model(batch.encode(lambda _: x))
    rows = out.logits.split([e.n_queries[0] for e in tasks])
    logits = [row[:, : e.way[0]] for row, e in zip(rows, tasks, strict=True)]
    results = [
        reference.forward(model.layers[0], part, e.y.tolist(), e.query.tolist(), e.way[0])
        for part, e in zip(x.split(batch.sizes), tasks, strict=True)
    ]
    expected = [values for values, _ in results]
    for actual, values in zip(logits, expected, strict=True):
        assert torch.allclose(actual, values, rtol=0, atol=1e-10)
    penalty = torch.stack([penalty for _, penalty in results])
    assert torch.allclose(out.graphs[-1].penalty, penalty, rtol=1e-10, atol=0)

    def gradients(values, penalty):
        total = sum((v * torch.arange(v.numel()).view(v.shape)).sin().sum() for v in values)
        return torch.autograd.grad(total + penalty.sum(), [x, *model.parameters()])

    for actual, values in zip(
        gradients(logits, out.graphs[-1].penalty), gradients(expected, penalty), strict=True
    ):
        assert torch.allclose(actual, values, rtol=1e-8, atol=1e-10)


def test_without_steps_an_open_gate_gives_prototypes():
    model = small_model(test_steps=0)
    with torch.no_grad():
        model.layers[0].gate.bias.fill_(1e3)
    prototypes = gf.create("prototypical", encoder=gf.backbones.identity(DIM)).double()
    e = task(8, 3, (1, 2), 3)
    actual, expected = (m(e).logits.log_softmax(1) for m in (model, prototypes))
    assert torch.allclose(actual, expected, rtol=0, atol=1e-10)


def test_leaf_probabilities_follow_the_distance_to_the_centers():
    tree = ClusterTree(3, widths=(2,), sigma=0.5)
    with torch.no_grad():
        tree.centers.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    # Squared distances 0 and 2, divided by 2 sigma.
    expected = torch.tensor([0.0, -2.0]).softmax(0)
    assert torch.allclose(tree.leaf_probs(torch.tensor([[1.0, 0.0, 0.0]]))[0], expected)


def test_evaluation_takes_its_own_number_of_steps():
    e = task(8, 3, (1, 2), 3)
    model = small_model(test_steps=1)
    evaluated, trained = model(e).logits, model.train()(e).logits
    assert not torch.allclose(evaluated, trained)
    same = small_model()
    with torch.no_grad():
        assert torch.allclose(same.train()(e).logits, trained)
        assert torch.equal(same.eval()(e).logits, same.train()(e).logits)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clusters": []}, "at least one level"),
        ({"clusters": [4, 0]}, r"clusters=\[4, 0\]"),
        ({"hidden": 0}, "hidden=0"),
        ({"steps": -1}, "must not be negative"),
        ({"rate": 0.0}, "rate must be positive"),
        ({"sigma": -1.0}, "sigma must be positive"),
        ({"reconstruction_weight": -0.1}, "reconstruction_weight must be at least 0"),
    ],
)
def test_invalid_arguments_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        gf.create("hsml", encoder=gf.backbones.identity(DIM), **arguments)


def test_diverging_steps_raise():
    model = small_model(rate=1e8)
    with pytest.raises(gf.errors.NumericalError, match=r"diverged.*rate"):
        model(task(8, 3, (2, 3), 3))


def test_training_gates_each_family_of_tasks():
    tasks, test = (
        gf.Tasks(families(), way=5, shot=1, query=5, seed=seed, within_groups=True)
        for seed in (0, 1)
    )
    model = gf.create("hsml", encoder=gf.backbones.identity(6), hidden=16, steps=2)
    before = gf.evaluate(model, test, 60).mean
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    loss = gf.methods.penalized_node_loss
    for _ in gf.train(model, tasks, loss=loss, batch=4, steps=40, optimizer=optimizer):
        pass
    assert gf.evaluate(model, test, 60).mean > before + 0.05
