"""Methods that adapt a linear classifier, against gradient descent by autograd from the episode on."""

import pytest
import torch
from episodes import DIM, identity_model, task
from gradient_check import assert_gradients, losses_before_and_after
from reference_check import LABELED
from sklearn.datasets import load_digits
from torch.nn import functional as F

import graphfew as gf
from graphfew.nn import step_sizes

WAYS = {"anil": {"way": 3}}
STEP_SIZES = step_sizes.STEP_SIZES


def start_of(model, name, x, y, way):
    if name == "anil":
        start = model.layers.get_submodule("0.fit.start")
        return start.weight, start.bias
    if name == "proto_maml":
        means = torch.stack([x[y == c].mean(0) for c in range(way)])
        return 2 * means, -(means * means).sum(1)
    return torch.zeros(way, DIM).double(), torch.zeros(way).double()


def rates_of(model, x, steps):
    """The rate of each weight and of the bias for each step."""
    rule = model.layers.get_submodule("0.fit.step_sizes")
    unit = bias_unit = 1.0
    if rule.unit is step_sizes.relative_unit:
        squared_length = torch.stack([row @ row for row in x]).mean()
        unit, bias_unit = 1 / squared_length, 1 / (squared_length + 1)
    rows = [rule.rate[min(t, len(rule.rate) - 1)] for t in range(steps)]
    bias = rule.rate[:, 0] if rule.bias_rate is None else rule.bias_rate
    return [(unit * rows[t], bias_unit * bias[min(t, len(bias) - 1)]) for t in range(steps)]


def reference(model, name, e, *, steps, first_order=False, momentum=0.0, temperature=1.0):
    """Logits of one task, all gradients by autograd."""
    x, y = e.x[e.labeled], e.y[e.labeled]
    w, b = start_of(model, name, x, y, e.way[0])
    constant = x.detach() if first_order else x
    velocity = [torch.zeros_like(w), torch.zeros_like(b)]
    for weight_rate, bias_rate in rates_of(model, constant, steps):
        leaves = [w, b]
        if first_order:
            leaves = [value.detach() for value in leaves]
        leaves = [value if value.requires_grad else value.requires_grad_() for value in leaves]
        loss = F.cross_entropy(constant @ leaves[0].T + leaves[1], y)
        grads = torch.autograd.grad(loss, leaves, create_graph=not first_order)
        velocity = [momentum * v + g for v, g in zip(velocity, grads, strict=True)]
        w = w - velocity[0] * weight_rate
        b = b - velocity[1] * bias_rate
    return (e.x[e.query] @ w.T + b) / temperature


CASES = {
    "anil": ("anil", {}, {}),
    "anil, momentum and first order": (
        "anil",
        {"momentum": 0.9, "first_order": True},
        {"momentum": 0.9, "first_order": True},
    ),
    "anil, published rate": (
        "anil",
        {"rate_unit": step_sizes.absolute_unit, "rate": 0.1},
        {},
    ),
    "proto_maml": ("proto_maml", {}, {}),
    "proto_maml, first order": ("proto_maml", {"first_order": True}, {"first_order": True}),
    "zero_head": ("zero_head", {}, {}),
    "unicorn": ("unicorn", {}, {"first_order": True, "temperature": 0.5}),
    **{
        f"{name}, {rule}": (name, {"step_sizes": STEP_SIZES[rule]}, {})
        for name, rule in [
            ("zero_head", "learned_rate"),
            ("proto_maml", "rate_per_step"),
            ("zero_head", "rate_per_feature"),
            ("proto_maml", "rate_per_step_and_feature"),
        ]
    },
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_logits_and_gradients_match_autograd(case):
    name, arguments, options = case
    tasks = LABELED["mixed"]
    if name == "anil":
        tasks = [task(8, 3, (1, 2), 3), task(9, 3, (2,), 2), task(3, 3, (1,), 4)]
    model = identity_model(name, steps=3, **WAYS.get(name, {}), **arguments)
    batch = gf.collate(tasks)
    batch = batch.encode(lambda x: x.clone().requires_grad_())
    leaves = [batch.x, *(p for p in model.parameters() if p.requires_grad)]
    logits = model(batch).logits
    parts = logits.split([e.n_queries[0] for e in tasks])
    expected = [
        reference(model, name, batch.take([t]), steps=3, **options) for t in range(len(tasks))
    ]
    target = [torch.arange(len(part)) % e.way[0] for part, e in zip(parts, tasks, strict=True)]
    for part, other in zip(parts, expected, strict=True):
        way = other.shape[1]
        assert torch.allclose(part[:, :way], other, rtol=0, atol=1e-11)
        assert torch.isneginf(part[:, way:]).all()
    actual_loss = F.cross_entropy(logits, torch.cat(target))
    n_queries = len(logits)
    losses = [F.cross_entropy(o, t, reduction="sum") for o, t in zip(expected, target, strict=True)]
    expected_loss = sum(losses) / n_queries
    actual = torch.autograd.grad(actual_loss, leaves)
    for a, b in zip(actual, torch.autograd.grad(expected_loss, leaves), strict=True):
        assert b.abs().max() > 1e-6
        assert torch.allclose(a, b, rtol=0, atol=1e-10)


def test_gradients_match_finite_differences():
    model = identity_model("proto_maml", steps=2, step_sizes=step_sizes.rate_per_feature)
    assert_gradients(model, [task(1, 3, (1, 2), 2), task(2, 2, (1,), 2)])


def test_a_shared_row_has_no_influence():
    """Why `unicorn` has no learned start: a common vector in all rows changes no softmax."""
    e = task(1, 3, (1, 2), 4)
    zero = identity_model("zero_head", steps=4)
    own = identity_model("anil", way=3, steps=4)
    rule = zero.layers.get_submodule("0.fit.step_sizes")
    start = own.layers.get_submodule("0.fit.start")
    with torch.no_grad():
        own.layers.get_submodule("0.fit.step_sizes").rate.copy_(rule.rate)
        start.weight.copy_(torch.randn(1, DIM).double().expand(3, DIM))
        start.bias.fill_(0.7)
    shared, plain = own(e).logits, zero(e).logits
    assert torch.allclose(shared.softmax(1), plain.softmax(1), rtol=0, atol=1e-12)
    gf.node_loss(own(e), torch.tensor([0, 1, 2, 0])).backward()
    assert start.weight.grad.sum(0).abs().max() < 1e-12
    assert start.weight.grad.abs().max() > 1e-3


def test_without_steps_proto_maml_is_the_prototypical_network():
    e = task(2, 4, (1, 2), 4)
    encoder = gf.backbones.identity(DIM)
    adapted = gf.create("proto_maml", encoder=encoder, steps=0).double()(e).logits
    prototypes = gf.create("prototypical", encoder=encoder).double()(e).logits
    assert torch.allclose(adapted.softmax(1), prototypes.softmax(1), rtol=0, atol=1e-12)


def test_test_steps_are_those_of_evaluation():
    e = task(2, 3, (1, 2), 4)
    encoder = gf.backbones.identity(DIM)
    both = gf.create("zero_head", encoder=encoder, steps=2, test_steps=7).double()
    for is_training, steps in ((True, 2), (False, 7)):
        expected = gf.create("zero_head", encoder=encoder, steps=steps).double()(e).logits
        assert torch.equal(both.train(is_training)(e).logits, expected)


@pytest.mark.parametrize("name", ["anil", "proto_maml", "zero_head", "unicorn"])
def test_the_scale_of_features_does_not_matter(name):
    """With a relative unit, large features neither diverge nor need another rate."""
    e = task(2, 3, (1, 2), 4)
    encoder = gf.backbones.identity(DIM)
    model = gf.create(name, encoder=encoder, **WAYS.get(name, {})).double()
    large = [model(e.encode(lambda x, s=s: s * x)).logits for s in (1e3, 1e6)]
    assert all(value.isfinite().all() for value in large)
    assert torch.equal(large[0].argmax(1), large[1].argmax(1))
    # The bias unit has reached its limit, and starts in units of the features are negligible.
    small = [model(e.encode(lambda x, s=s: s * x)).logits for s in (1e-4, 1e-5)]
    assert torch.allclose(*(value.softmax(1) for value in small), rtol=0, atol=1e-3)
    assert small[0].softmax(1).std() > 0.05


@pytest.mark.parametrize("name", ["proto_maml", "zero_head", "unicorn"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_classifier_works_untrained(name, scale):
    x, y = load_digits(return_X_y=True)
    x = scale * (x - x.mean(0))
    classifier = gf.FewShotClassifier(name).fit(x[:300], y[:300])
    assert classifier.score(x[300:600], y[300:600]) > 0.7


@pytest.mark.parametrize("name", ["anil", "proto_maml", "zero_head", "unicorn"])
def test_training_improves_the_loss(name):
    tasks = gf.Tasks(gf.data.glyphs(), way=3, shot=2, query=3, seed=0)
    model = gf.create(name, encoder=gf.backbones.conv4(width=4), **WAYS.get(name, {}))
    before, after = losses_before_and_after(model, tasks, steps=20, lr=5e-3)
    assert after < before - 0.05


def test_functions_are_stored_by_name(tmp_path):
    model = gf.create(
        "zero_head",
        encoder=gf.backbones.identity(DIM),
        step_sizes=step_sizes.rate_per_step,
        rate_unit=step_sizes.absolute_unit,
    ).eval()
    assert model.spec.arguments["step_sizes"] == {"step_sizes": "rate_per_step"}
    assert model.spec.arguments["rate_unit"] == {"rate_unit": "absolute_unit"}
    loaded = gf.load(gf.save(model, tmp_path / "model")).eval()
    assert loaded.layers.get_submodule("0.fit.step_sizes").unit is step_sizes.absolute_unit
    e = task(1, 3, (1,), 2).to(torch.float32)
    assert torch.equal(loaded(e).logits, model(e).logits)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": 0.0}, "rate must be positive and finite, got 0.0"),
        ({"steps": -1}, "steps must not be negative, got -1"),
        ({"test_steps": -1}, "test_steps must not be negative, got -1"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1, got 1.0"),
        (
            {"steps": 3, "test_steps": 4, "step_sizes": step_sizes.rate_per_step},
            "4 inner steps need 4 step sizes, and 3 are stored; use at most 3",
        ),
    ],
)
def test_invalid_arguments(arguments, message):
    with pytest.raises(gf.errors.InvalidInputError, match=message):
        gf.create("zero_head", encoder=gf.backbones.identity(DIM), **arguments)


def test_more_steps_than_a_table_without_rows_are_allowed():
    model = gf.create(
        "zero_head",
        encoder=gf.backbones.identity(DIM),
        steps=3,
        test_steps=9,
        step_sizes=step_sizes.rate_per_feature,
    )
    assert model.double().eval()(task(1)).logits.isfinite().all()


def test_a_diverging_loop_names_rate_and_loss():
    e = task(1, 3, (9,), 2).encode(lambda x: 1e3 * x)
    model = gf.create(
        "zero_head",
        encoder=gf.backbones.identity(DIM),
        rate=0.5,
        rate_unit=step_sizes.absolute_unit,
    ).double()
    message = (
        r"diverged: after 5 steps at a rate of 0\.5 the support loss is .* \(1\.1 at the start\)"
    )
    with pytest.raises(gf.errors.NumericalError, match=message):
        model(e)
