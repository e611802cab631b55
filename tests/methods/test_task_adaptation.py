"""Networks adapted to each task, against loops over tasks with one autograd call per step."""

import functools

import pytest
import torch
from episodes import identity_model, randomized, task
from reference import adaptation
from torch.nn import functional as F

import graphfew as gf
from graphfew.nn.adapted_bodies import StepRates
from graphfew.nn.batch_norm_rules import running_moments, support_moments, transductive_moments
from graphfew.nn.classifier_starts import own_rows, prototype_rows

STEPS = 3
RULES = {
    support_moments: adaptation.support_rule,
    running_moments: adaptation.running_rule,
    transductive_moments: adaptation.transductive_rule,
}
MAML = {
    "second order": {},
    "first order": {"first_order": True},
    "running moments": {"batch_norm": running_moments},
    "transductive moments": {"batch_norm": transductive_moments},
    "own rows": {"start": own_rows, "way": 3},
    "prototypes": {"start": prototype_rows},
    "prototypes, first order": {"start": prototype_rows, "first_order": True},
}
ADAPTED = ("boil", "cavia", "film_adaptation", "maml", "maml_plus_plus", "meta_sgd")


def image_task(seed, way=3, shots=(1, 2), queries=3):
    return task(seed, way, shots, queries, dim=256).encode(lambda x: x.view(-1, 1, 16, 16))


TASKS = [image_task(1), image_task(2, queries=2)]
MIXED_WAYS = [image_task(1, way=4), image_task(2, way=2, queries=2), image_task(3, way=3)]


def build(name, **arguments):
    arguments = {"steps": STEPS, "step_size": 0.3, **arguments}
    return randomized(
        gf.create(name, encoder=gf.backbones.conv4(width=3, size=16), dim=3, **arguments)
    )


def initial_classifier(model, values, e, encode):
    """Return the weights `[way, F]` and biases `[way]` before the first step."""
    start = model.condition.head_start
    way = e.way[0]
    if type(start).__name__ == "OwnRows":
        return start.weight * 1, start.bias * 1
    if type(start).__name__ == "ZeroRows":
        zeros = torch.zeros(way, 4).double().requires_grad_()
        return zeros[:, :3], zeros[:, 3]
    x, y = e.x[~e.query], e.y[~e.query]
    features = encode(values, x, torch.ones(len(x), dtype=torch.bool))
    means = torch.stack([features[y == k].mean(0) for k in range(way)])
    return 2 * means, -means.square().sum(1)


def adapted_logits(model, e, rule, encode, start, names, rate, **options):
    """Return the query logits after each step, by loops; `encode(values, x, support, step)`."""
    values = {**adaptation.start(model), **start}
    values["W"], values["b"] = initial_classifier(model, values, e, encode)
    x, y = e.x[~e.query], e.y[~e.query]

    def loss(now, step):
        features = encode(now, x, torch.ones(len(x), dtype=torch.bool), step)
        return adaptation.cross_entropy(features @ now["W"].T + now["b"], y)

    after = adaptation.descend(loss, values, names, rate, STEPS, **options)
    scores = []
    for step, now in enumerate(after):
        features = encode(now, e.x, ~e.query, step)
        scores.append((features @ now["W"].T + now["b"])[e.query])
    return scores


def weight_names(model):
    return [name for name, _ in model.encoder.named_parameters() if not adaptation.is_norm(name)]


def assert_equal_with_gradients(model, tasks, expected_steps, loss=None):
    """Compare logits, and the gradients of a loss with respect to all weights, second order too."""
    out = model(gf.collate(tasks))
    target = torch.cat([torch.arange(e.n_queries[0]) % e.way[0] for e in tasks])
    logits = out.logits.split([e.n_queries[0] for e in tasks])
    for actual, steps in zip(logits, expected_steps, strict=True):
        expected = steps[-1]
        assert torch.allclose(actual[:, : expected.shape[1]], expected, rtol=0, atol=1e-10)
    if loss is None:
        actual_loss = gf.node_loss(out, target)
        weights = [0.0] * (STEPS - 1) + [1.0]
    else:
        actual_loss = loss(out, target)
        weights = loss.keywords["weights"]
    expected_loss, n_queries = 0, len(target)
    for e, steps in zip(tasks, expected_steps, strict=True):
        own = torch.arange(e.n_queries[0]) % e.way[0]
        for weight, scores in zip(weights, steps, strict=True):
            total = F.cross_entropy(scores, own, reduction="sum")
            expected_loss = expected_loss + weight * total / n_queries
    assert torch.allclose(actual_loss, expected_loss, rtol=0, atol=1e-10)
    parameters = dict(model.named_parameters())
    pairs = zip(
        parameters,
        torch.autograd.grad(actual_loss, [*parameters.values()], allow_unused=True),
        torch.autograd.grad(expected_loss, [*parameters.values()], allow_unused=True),
        strict=True,
    )
    seen = 0
    for name, actual, expected in pairs:
        actual, expected = (0 * parameters[name] if g is None else g for g in (actual, expected))
        assert torch.allclose(actual, expected, rtol=0, atol=1e-9), name
        seen += bool(expected.any())
    assert seen > len(parameters) / 2


@pytest.mark.parametrize("options", MAML.values(), ids=MAML)
def test_maml_matches_loops_with_second_derivatives(options):
    model = build("maml", **options)
    rule = RULES[options.get("batch_norm", support_moments)]
    names = [*weight_names(model), "W", "b"]
    tasks = TASKS if "way" in options else MIXED_WAYS
    expected = [
        adapted_logits(
            model,
            e,
            rule,
            lambda v, x, s, step=0: adaptation.conv4(v, x, s, rule),
            {},
            names,
            lambda name, step: 0.3,
            first_order=options.get("first_order", False),
        )
        for e in tasks
    ]
    assert model.transductive == (rule is adaptation.transductive_rule)
    assert_equal_with_gradients(model, tasks, expected)


def test_boil_matches_loops():
    model = build("boil", way=3)
    rule = adaptation.support_rule
    expected = [
        adapted_logits(
            model,
            e,
            rule,
            lambda v, x, s, step=0: adaptation.conv4(v, x, s, rule),
            {},
            weight_names(model),
            lambda name, step: 0.3,
        )
        for e in TASKS
    ]
    assert_equal_with_gradients(model, TASKS, expected)


def test_meta_sgd_matches_loops():
    model = build("meta_sgd")
    rule, rates = adaptation.support_rule, model.condition.step_size.rates

    def rate(name, step):
        own = {"W": "head-weight", "b": "head-bias"}
        return rates[own.get(name, "encoder-" + name.replace(".", "-"))]

    expected = [
        adapted_logits(
            model,
            e,
            rule,
            lambda v, x, s, step=0: adaptation.conv4(v, x, s, rule),
            {},
            [*weight_names(model), "W", "b"],
            rate,
        )
        for e in MIXED_WAYS
    ]
    assert rates["encoder-net-1-weight"].shape == (3, 1, 3, 3)
    assert_equal_with_gradients(model, MIXED_WAYS, expected)


@pytest.mark.parametrize("weights", [[1 / 3] * 3, [0.1, 0.2, 0.7]])
def test_maml_plus_plus_matches_loops_with_its_multi_step_loss(weights):
    model = build("maml_plus_plus")
    rule, condition = adaptation.support_rule, model.condition
    rates = condition.step_size.rates

    def rate(name, step):
        own = {"W": "head-weight", "b": "head-bias"}
        return rates[own.get(name, "encoder-" + name.replace(".", "-"))][step]

    def encode(values, x, support, step=0):
        now = dict(values)
        for block, layer in enumerate(adaptation.BLOCKS):
            norm = f"net.{layer + 1}"
            now[f"{norm}.weight"] = (
                values[f"{norm}.weight"] + condition.body.step_norm.weight[block][step]
            )
            now[f"{norm}.bias"] = (
                values[f"{norm}.bias"] + condition.body.step_norm.bias[block][step]
            )
        return adaptation.conv4(now, x, support, rule)

    names = [*weight_names(model), "W", "b"]
    expected = [adapted_logits(model, e, rule, encode, {}, names, rate) for e in MIXED_WAYS]
    loss = functools.partial(gf.methods.multi_step_loss, weights=weights)
    assert_equal_with_gradients(model, MIXED_WAYS, expected, loss)


@pytest.mark.parametrize("options", [{}, {"start": prototype_rows}, {"first_order": True}])
def test_film_adaptation_matches_loops(options):
    """The gradient of the sum over all tasks of the batch is that of each task alone."""
    model = build("film_adaptation", **options)
    rule = adaptation.support_rule
    norms = [
        name for name, _ in model.encoder.named_parameters() if name not in weight_names(model)
    ]
    expected = [
        adapted_logits(
            model,
            e,
            rule,
            lambda v, x, s, step=0: adaptation.conv4(v, x, s, rule),
            {},
            [*norms, "W", "b"],
            lambda name, step: 0.3,
            first_order=options.get("first_order", False),
        )
        for e in MIXED_WAYS
    ]
    assert_equal_with_gradients(model, MIXED_WAYS, expected)


def test_cavia_matches_loops():
    model = build("cavia", way=3, context_dim=4)
    rule, body = adaptation.support_rule, model.condition.body

    def encode(values, x, support, step=0):
        def modulation(block):
            scale, shift = body.scale[block], body.shift[block]
            return (
                scale.weight @ values["context"] + scale.bias,
                shift.weight @ values["context"] + shift.bias,
            )

        return adaptation.conv4(values, x, support, rule, modulation)

    start = {"context": torch.zeros(4).double().requires_grad_()}
    expected = [
        adapted_logits(model, e, rule, encode, start, ["context"], lambda name, step: 0.3)
        for e in TASKS
    ]
    assert_equal_with_gradients(model, TASKS, expected)


@pytest.mark.parametrize("name", ADAPTED)
def test_evaluation_equals_training(name):
    """Without gradients and in evaluation mode; dropout is off in both."""
    way = {"way": 3} if name in ("boil", "cavia") else {}
    model = build(name, **way).train()
    batch = gf.collate(TASKS)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trained = model(batch).logits
    with gf.nn.eval_mode(model):
        evaluated = model(batch).logits
        chunked = gf.predict(model, batch)
        gf.evaluation.check_contract(model, batch)
    assert torch.equal(trained, evaluated)
    assert torch.equal(trained, chunked)
    assert trained.requires_grad
    assert not evaluated.requires_grad
    # Neither running statistics nor hooks of batch norms remain.
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any("forward" in vars(module) for module in model.modules())
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("name", ADAPTED)
def test_adaptation_changes_predictions(name):
    way = {"way": 3} if name in ("boil", "cavia") else {}
    logits = [build(name, steps=steps, **way)(TASKS[0]).logits for steps in (1, 4)]
    assert (logits[0].softmax(1) - logits[1].softmax(1)).abs().max() > 1e-3


def test_transductive_moments_are_declared():
    tasks = gf.Tasks(gf.data.digits(size=16), way=3, query=2)
    model = gf.create(
        "maml",
        encoder=gf.backbones.conv4(width=3, size=16),
        batch_norm=transductive_moments,
        steps=1,
    )
    result = gf.evaluate(model, tasks, n=4)
    assert result.mode.transductive
    assert result.model["arguments"]["batch_norm"] == {"batch_norm": "transductive_moments"}
    with pytest.raises(gf.errors.ContractError, match="other queries are removed"):
        gf.evaluate(model._copy(transductive=False), tasks, n=4)


def test_functions_survive_a_checkpoint(tmp_path):
    model = build("maml", start=own_rows, way=3, batch_norm=transductive_moments).float()
    loaded = gf.load(gf.save(model, tmp_path / "model")).eval()
    assert loaded.spec.arguments["start"] == {"start": "own_rows"}
    assert loaded.transductive
    batch = gf.collate(TASKS).to(torch.float32)
    assert torch.equal(loaded(batch).logits, model(batch).logits)


@pytest.mark.parametrize("name", ADAPTED)
def test_on_features_and_unlabeled_items_are_rejected(name):
    way = {"way": 3} if name in ("boil", "cavia") else {}
    model = identity_model(name, **way)
    with pytest.raises(ValueError, match="conditions its encoder on the task"):
        model.on_features()
    with pytest.raises(ValueError, match=f"{name} got 1 unlabeled nodes"):
        model(task(1, 3, (1,), 2, unlabeled=1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"step_size": -1.0}, r"step_size is -1\.0; it must be positive"),
        ({"start": own_rows}, "pass way="),
    ],
)
def test_invalid_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        gf.create("maml", encoder=gf.backbones.identity(4), **arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("maml_plus_plus", {"steps": -1}, "steps is -1"),
        ("maml_plus_plus", {"step_size": float("nan")}, "step_size is nan"),
        ("meta_sgd", {"step_size": -1.0}, r"step_size is -1\.0; it must be positive"),
        ("cavia", {"context_dim": 0}, "context_dim is 0"),
        ("boil", {"way": 0}, "way must be at least 2, got 0"),
    ],
)
def test_invalid_arguments_of_other_methods(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        gf.create(name, encoder=gf.backbones.identity(4), **arguments)


@pytest.mark.parametrize("name", ADAPTED)
def test_inference_mode_is_rejected(name):
    way = {"way": 3} if name in ("boil", "cavia") else {}
    with torch.inference_mode(), pytest.raises(ValueError, match=r"use torch\.no_grad\(\)"):
        identity_model(name, **way)(task(1, 3, (1,), 2))


def test_own_rows_reject_another_way():
    model = build("maml", start=own_rows, way=3)
    with pytest.raises(ValueError, match="maml was built for 3-way tasks and got a 4-way task"):
        model(MIXED_WAYS[0])


def test_more_steps_than_stored_step_sizes():
    model = build("maml_plus_plus")
    model.condition.steps = 4
    with pytest.raises(ValueError, match="batch norms for 3 inner steps, but step 4 was"):
        model(TASKS[0])
    rates = StepRates(model.encoder, 2, 0.1)
    assert {tuple(rate.shape) for rate in rates.rates.values()} == {(2,)}


def test_a_diverging_loop_names_rate_and_loss():
    model = build("maml", step_size=1e200)
    with pytest.raises(gf.errors.NumericalError, match=r"after 2 steps at rates up to 1e\+200"):
        model(TASKS[0])


def test_multi_step_weights():
    weights = gf.methods.multi_step_weights
    assert weights(5, 0, 10) == (0.2,) * 5
    assert weights(5, 10, 10) == (0, 0, 0, 0, 1)
    for epoch in range(10):
        assert sum(weights(5, epoch, 10)) == pytest.approx(1)
    with pytest.raises(ValueError, match="steps=0"):
        weights(0, 0, 1)


def test_multi_step_loss_needs_graphs():
    out = gf.MethodOutput(torch.zeros(1, 2), ())
    with pytest.raises(ValueError, match="use node_loss"):
        gf.methods.multi_step_loss(out, torch.tensor([0]))


def test_multi_step_loss_needs_a_weight_per_step():
    model = build("maml_plus_plus")
    out, target = model(TASKS[0]), torch.tensor([0, 1, 2])
    with pytest.raises(ValueError, match="got 2 weights for 3 inner steps"):
        gf.methods.multi_step_loss(out, target, [0.5, 0.5])
    with gf.nn.eval_mode(model):
        out = model(TASKS[0])
        assert torch.equal(gf.methods.multi_step_loss(out, target), gf.node_loss(out, target))


@pytest.mark.parametrize("name", ADAPTED)
def test_training_learns(name, one_thread):
    """Adam on a few steps of the same two tasks, whose queries it must learn to predict."""
    way = {"way": 2} if name in ("boil", "cavia") else {}
    arguments = {"steps": 2, "step_size": 0.5, **way}
    model = gf.create(name, encoder=gf.backbones.conv4(width=4, size=16), **arguments)
    episode, target = gf.Tasks(gf.data.digits(size=16), way=2, shot=2, query=3).batch(range(2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = gf.METHODS[name].loss(model(episode), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
